//! What stands between real nodes so that scenarios can break the network: everybody reaches a node through a port of this
//! process, which passes bytes on, holds them back, or takes its time, by who sends and who receives.
//!
//! Who sends is known by the process that holds the other end of the connection, so this works where there is a procfs.

use crate::{local_cluster::LocalCluster, procfs};
use bytes::BytesMut;
use runtime::{
    net::{Listener, ReadHalf, Stream, WriteHalf},
    sync::Lock,
    task, time,
};
use std::{collections::BTreeMap, io, sync::Arc, time::Duration};

/// Whom connections come from that no node holds: the clients in this process.
pub const CLIENTS: i32 = 0;
/// How often a way that is cut is looked at.
const TICK: Duration = Duration::from_millis(10);
/// The rank of the lock: nothing is taken under it.
const RANK: u8 = 210;

/// What is wrong with the ways between nodes. Cuts are counted: each wants to be taken back.
#[derive(Default)]
struct Ways {
    cuts: BTreeMap<(i32, i32), u32>,
    delays: BTreeMap<(i32, i32), Vec<Duration>>,
}

/// See the module.
#[derive(Clone)]
pub struct Proxy {
    cluster: Arc<LocalCluster>,
    ways: Arc<Lock<Ways>>,
}

impl Proxy {
    /// Listens wherever the nodes are known to be.
    ///
    /// # Errors
    /// A port is taken.
    pub async fn start(cluster: &LocalCluster) -> io::Result<Self> {
        let proxy = Self { cluster: Arc::new(cluster.clone()), ways: Arc::new(Lock::new(RANK, Ways::default())) };
        for node in &cluster.nodes {
            let ports = [node.kafka_port, node.replication_port, node.controller_port];
            for port in ports.into_iter().filter(|port| *port != 0) {
                let listener = Listener::bind(&format!("127.0.0.1:{port}")).await?;
                let target = format!("127.0.0.1:{}", port + node.behind);
                task::spawn(proxy.clone().serve(listener, target, node.id));
            }
        }
        Ok(proxy)
    }

    /// Holds back whatever one sends to the other; [`CLIENTS`] is all clients.
    pub fn cut(&self, from: i32, to: i32) {
        *self.ways.lock().cuts.entry((from, to)).or_default() += 1;
    }

    /// Takes one cut back.
    pub fn heal(&self, from: i32, to: i32) {
        let mut ways = self.ways.lock();
        if let Some(cuts) = ways.cuts.get_mut(&(from, to)) {
            *cuts = cuts.saturating_sub(1);
        }
    }

    /// Makes a way take longer, or takes the last such delay back.
    pub fn slow(&self, from: i32, to: i32, delay: Option<Duration>) {
        let mut ways = self.ways.lock();
        let all = ways.delays.entry((from, to)).or_default();
        match delay {
            Some(delay) => all.push(delay),
            None => drop(all.pop()),
        }
    }

    fn is_cut(&self, way: (i32, i32)) -> bool {
        self.ways.lock().cuts.get(&way).is_some_and(|cuts| *cuts > 0)
    }

    fn delay(&self, way: (i32, i32)) -> Duration {
        self.ways.lock().delays.get(&way).and_then(|all| all.iter().max().copied()).unwrap_or_default()
    }

    async fn serve(self, listener: Listener, target: String, to: i32) {
        loop {
            match listener.accept().await {
                Ok((stream, peer)) => drop(task::spawn(self.clone().connect(stream, peer.port(), target.clone(), to))),
                Err(_) => time::sleep(TICK).await,
            }
        }
    }

    /// A connection, from when its first end is here until both are gone.
    async fn connect(self, near: Stream, port: u16, target: String, to: i32) {
        let from = self.holder(port);
        while self.is_cut((from, to)) || self.is_cut((to, from)) {
            time::sleep(TICK).await;
        }
        // A node that is down: the connection ends, as one does that is refused.
        let Ok(far) = Stream::connect(&target).await else { return };
        let ((near_read, near_write), (far_read, far_write)) = (near.into_split(), far.into_split());
        let there = task::spawn(self.clone().pass_on(near_read, far_write, (from, to)));
        self.pass_on(far_read, near_write, (to, from)).await;
        // What the other direction still carries has nobody to answer it.
        there.abort();
    }

    async fn pass_on(self, mut read: ReadHalf, mut write: WriteHalf, way: (i32, i32)) {
        let mut buffer = BytesMut::with_capacity(1 << 16);
        while let Ok(1..) = read.read(&mut buffer).await {
            let delay = self.delay(way);
            if !delay.is_zero() {
                time::sleep(delay).await;
            }
            while self.is_cut(way) {
                time::sleep(TICK).await;
            }
            if write.send(&buffer, &[]).await.is_err() {
                return;
            }
            buffer.clear();
        }
        // The other end may have gone already.
        write.shutdown().await.ok();
    }

    /// The node whose process holds the end of a connection with this port; the clients, if none does.
    fn holder(&self, port: u16) -> i32 {
        let Some(socket) = procfs::socket_with_port(port) else { return CLIENTS };
        let holds =
            |id: &i32| self.cluster.pid(*id).is_some_and(|pid| procfs::has_open(pid.as_raw_nonzero().get(), &socket));
        self.cluster.nodes.iter().map(|node| node.id).find(holds).unwrap_or(CLIENTS)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::local_cluster::Size;
    use runtime::task::block_on_real;

    const NODE: i32 = 1;

    /// A proxy before something that answers with what it hears, and a connection through it. No process of the cluster runs:
    /// whoever connects is a client.
    async fn connected(test: &str) -> (Proxy, Stream) {
        let folder = std::env::temp_dir().join(format!("gregor-proxy-{test}-{}", std::process::id()));
        let size = Size { brokers: 1, controllers: None };
        let made = LocalCluster::create_behind_proxy(&folder, size, 29_092, &BTreeMap::new()).await;
        let cluster = made.map_err(|failure| failure.to_string()).expect("the folder can be written");
        let echo = Listener::bind("127.0.0.1:0").await.expect("a port is free");
        let target = echo.local_address().to_string();
        task::spawn(async move {
            while let Ok((mut stream, _)) = echo.accept().await {
                let mut heard = BytesMut::new();
                while let Ok(1..) = stream.read(&mut heard).await {
                    stream.send(&heard.split(), &[]).await.expect("it listens");
                }
            }
        });
        let proxy = Proxy { cluster: Arc::new(cluster), ways: Arc::new(Lock::new(RANK, Ways::default())) };
        let listener = Listener::bind("127.0.0.1:0").await.expect("a port is free");
        let address = listener.local_address().to_string();
        task::spawn(proxy.clone().serve(listener, target, NODE));
        (proxy, Stream::connect(&address).await.expect("the proxy listens"))
    }

    async fn hears(stream: &mut Stream, within: Duration) -> Option<BytesMut> {
        let mut heard = BytesMut::new();
        time::timeout(within, stream.read(&mut heard)).await.ok()?.expect("the connection stays");
        Some(heard)
    }

    #[test]
    fn what_is_cut_arrives_after_the_heal_and_whoever_has_two_cuts_needs_two_heals() {
        block_on_real(async {
            let (proxy, mut stream) = connected("cuts").await;
            for way in [(CLIENTS, NODE), (NODE, CLIENTS)] {
                stream.send(b"before", &[]).await.expect("it is open");
                assert_eq!(hears(&mut stream, Duration::from_secs(10)).await.as_deref(), Some(&b"before"[..]));
                (0..2).for_each(|_| proxy.cut(way.0, way.1));
                stream.send(b"after", &[]).await.expect("it is open");
                assert_eq!(hears(&mut stream, Duration::from_millis(100)).await, None, "{way:?}");
                proxy.heal(way.0, way.1);
                assert_eq!(hears(&mut stream, Duration::from_millis(100)).await, None, "{way:?} is cut once more");
                proxy.heal(way.0, way.1);
                assert_eq!(hears(&mut stream, Duration::from_secs(10)).await.as_deref(), Some(&b"after"[..]));
            }
        });
    }

    #[test]
    fn the_process_that_holds_the_other_end_is_known() {
        block_on_real(async {
            let (proxy, stream) = connected("holder").await;
            let port = stream.local_address().expect("it is open").port();
            let socket = procfs::socket_with_port(port).expect("it is open");
            assert!(procfs::has_open(std::process::id() as i32, &socket));
            assert_eq!(proxy.holder(port), CLIENTS);
        });
    }
}
