use super::*;
use crate::{
    disk::Disk as AnyDisk,
    simulation::{Crash, Options, add_node, crash, run, start},
};
use std::future::Future;

/// Runs a scenario on a fresh disk, as the harness.
fn on_disk<F>(seed: u64, scenario: impl FnOnce(AnyDisk, Disk) -> F + Send + 'static)
where
    F: Future<Output = ()> + 'static,
{
    let outcome = run(seed, Options::default(), || {
        let disk = Disk::new(7);
        scenario(AnyDisk::simulated(disk.clone()), disk)
    });
    outcome.result.expect("the scenario holds");
}

#[test]
fn synced_bytes_survive_a_power_loss_and_a_drawn_part_of_the_rest() {
    for seed in 0..50 {
        on_disk(seed, |disk, platter| async move {
            let file = disk.open("f", Open::CreateNew).expect("created");
            assert_eq!(file.append(&[1; 1000]).expect("appended"), 0);
            file.sync().await.expect("synced");
            disk.sync_directory("").await.expect("synced");
            assert_eq!(file.append(&[2; 3000]).expect("appended"), 1000);
            assert_eq!(platter.durable("f"), Some(vec![1; 1000]));
            assert_eq!(platter.written("f").map(|bytes| bytes.len()), Some(4000));
            platter.power_loss();
            let after = disk.read("f").expect("read");
            assert!((1000..=4000).contains(&after.len()));
            assert!(after[..1000].iter().all(|byte| *byte == 1));
            assert!(after[1000..].iter().all(|byte| *byte == 2 || *byte == 0));
            assert!(after.len() == 1000 || after.len() == 4000 || after.len() % 512 == 0, "{}", after.len());
        });
    }
}

#[test]
fn names_survive_as_a_prefix_of_their_changes() {
    let mut counts = std::collections::BTreeSet::new();
    for seed in 0..50 {
        let (send, receive) = std::sync::mpsc::channel();
        on_disk(seed, move |disk, platter| async move {
            disk.create_directory("d").expect("created");
            disk.sync_directory("").await.expect("synced");
            for name in ["d/0", "d/1", "d/2", "d/3"] {
                let file = disk.open(name, Open::CreateNew).expect("created");
                file.append(b"x").expect("appended");
                file.sync().await.expect("synced");
            }
            disk.rename("d/3", "d/9").expect("renamed");
            platter.power_loss();
            let names: Vec<_> = disk.list("d").expect("listed").into_iter().map(|entry| entry.name).collect();
            let all = [
                vec![],
                vec!["0"],
                vec!["0", "1"],
                vec!["0", "1", "2"],
                vec!["0", "1", "2", "3"],
                vec!["0", "1", "2", "9"],
            ];
            assert!(all.iter().any(|prefix| *prefix == names), "{names:?}");
            send.send(names.len()).expect("somebody listens");
        });
        counts.insert(receive.recv().expect("the scenario ran"));
    }
    assert_eq!(counts.len(), 5, "every prefix is drawn: {counts:?}");
}

#[test]
fn a_file_whose_directory_was_never_synced_is_lost_with_it() {
    for seed in 0..20 {
        on_disk(seed, |disk, platter| async move {
            disk.create_directory("a/b").expect("created");
            disk.open("a/b/f", Open::Create).expect("created").append(b"x").expect("appended");
            disk.sync_directory("a/b").await.expect("synced");
            assert_eq!(platter.durable("a/b/f"), None);
            platter.power_loss();
            assert_eq!(disk.exists("a/b/f"), disk.exists("a/b"));
            assert!(disk.exists("a") || !disk.exists("a/b"));
        });
    }
}

#[test]
fn an_atomic_write_leaves_the_old_or_the_new() {
    for seed in 0..50 {
        on_disk(seed, move |disk, platter| async move {
            disk.write_atomically("f", b"old").await.expect("written");
            let writer = disk.write_atomically("f", b"newer");
            // The power goes somewhere within the write: after at most 10 ms.
            let until = now_ns() + seed * 200_000;
            crate::select! {
                result = writer => result.expect("written"),
                () = sleep_until_ns(until) => {}
            }
            platter.power_loss();
            let after = disk.read("f").expect("it exists");
            assert!(after == b"old" || after == b"newer", "{after:?}");
        });
    }
}

#[test]
fn a_process_crash_keeps_what_was_written_and_ends_its_locks() {
    on_disk(1, |disk, platter| async move {
        let node = add_node("n", [10, 0, 0, 1].into());
        let handle = disk.clone();
        start(node, async move {
            let lock = handle.lock(".lock").expect("free");
            assert_eq!(handle.lock(".lock").expect_err("held").kind(), io::ErrorKind::WouldBlock);
            handle.open("f", Open::CreateNew).expect("created").append(b"kept").expect("appended");
            std::future::pending::<()>().await;
            drop(lock);
        });
        sleep_until_ns(now_ns() + 1_000_000_000).await;
        assert!(disk.lock(".lock").is_err());
        crash(node, Crash::Process);
        assert!(disk.lock(".lock").is_ok());
        assert_eq!(platter.written("f").as_deref(), Some(&b"kept"[..]));
    });
}

#[test]
fn faults_do_what_they_say() {
    on_disk(3, |disk, platter| async move {
        let file = disk.open("f", Open::Create).expect("created");
        file.append(&[1; 100]).expect("appended");
        let set = |faults: Faults| platter.set_faults(faults);

        set(Faults { append_error: 1000, ..Faults::default() });
        assert_eq!(file.append(b"x").expect_err("EIO").raw_os_error(), Some(EIO));
        set(Faults { no_space: true, ..Faults::default() });
        assert_eq!(file.append(b"x").expect_err("ENOSPC").raw_os_error(), Some(ENOSPC));
        assert!(disk.open("g", Open::Create).is_err());
        set(Faults { read_error: 1000, ..Faults::default() });
        assert!(disk.read("f").is_err());
        set(Faults { short_write: 1000, ..Faults::default() });
        assert!(file.append(&[2; 100]).is_err());
        assert_eq!(file.len().expect("alive"), 100, "the handle appends where the failed write began");
        set(Faults { sync_error: 1000, ..Faults::default() });
        assert!(file.sync().await.is_err());
        set(Faults { offline: true, ..Faults::default() });
        assert!(disk.list("").is_err() && !disk.exists("f"));
        set(Faults { slow_sync: 1000, ..Faults::default() });
        let before = now_ns();
        file.sync().await.expect("synced");
        assert!(now_ns() - before > 50_000_000);
        set(Faults::default());
        assert_eq!(platter.written("f").expect("it exists")[..100], [1; 100]);
    });
}

#[test]
fn damage_at_rest_is_not_told() {
    on_disk(3, |disk, platter| async move {
        disk.write_atomically("f", &[0; 2000]).await.expect("written");
        assert!(platter.damage("f", Damage::FlipBit { position: 5, bit: 1 }));
        assert_eq!(disk.read("f").expect("read")[5], 2);
        assert!(platter.damage("f", Damage::Misdirect { from: 0, to: 1000 }));
        assert_eq!(disk.read("f").expect("read")[1005], 2);
        assert!(platter.damage("f", Damage::LoseTail { length: 1500 }));
        platter.power_loss();
        assert_eq!(disk.read("f").expect("read").len(), 1500);
        assert!(platter.damage("f", Damage::Remove));
        platter.power_loss();
        assert!(!disk.exists("f"));
        assert!(!platter.damage("f", Damage::Remove));
    });
}

#[test]
fn a_slow_append_holds_the_whole_node() {
    on_disk(3, |disk, platter| async move {
        let node = add_node("n", [10, 0, 0, 1].into());
        platter.set_faults(Faults { slow_append: 1000, ..Faults::default() });
        let (send, receive) = crate::sync::oneshot::channel();
        let handle = disk.clone();
        start(node, async move {
            let neighbour = crate::task::spawn(async move {
                crate::time::sleep(Duration::from_millis(1)).await;
                let _ = send.send(now_ns());
            });
            handle.open("f", Open::Create).expect("created").append(b"x").expect("appended");
            let _ = neighbour.await;
        });
        let woken = receive.await.expect("the neighbour ran");
        assert!(woken >= 20_000_000, "{woken}");
    });
}

#[test]
fn a_stalled_sync_ends_when_the_stall_does() {
    on_disk(3, |disk, platter| async move {
        let file = disk.open("f", Open::CreateNew).expect("created");
        file.append(&[1; 100]).expect("appended");
        platter.set_faults(Faults { stalled_sync: true, ..Faults::default() });
        let began = now_ns();
        let mut syncing = std::pin::pin!(file.sync());
        crate::select! {
            _ = &mut syncing => panic!("it ended while it was stalled"),
            () = sleep_until_ns(began + 2_000_000_000) => {}
        }
        platter.set_faults(Faults::default());
        syncing.await.expect("synced");
        assert!(now_ns() >= began + 2_000_000_000);
        disk.sync_directory("").await.expect("synced");
        assert_eq!(platter.durable("f"), Some(vec![1; 100]));
    });
}
