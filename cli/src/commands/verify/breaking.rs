//! What `gregor verify` does to a local cluster while it writes: one break at a time, and the next one only once every
//! partition has all of its replicas in sync again.

use super::Ledger;
use crate::{local_cluster::LocalCluster, output::Failure};
use client::admin::Admin;
use runtime::{
    sync::Lock,
    task,
    time::{self, Instant},
};
use std::{sync::Arc, time::Duration};

/// Longer than a session lasts: a frozen leader is fenced, and finds out when it goes on.
const PAUSE: Duration = Duration::from_secs(5);
const WHOLE_WITHIN: Duration = Duration::from_secs(60);

/// What is done to the nodes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum How {
    /// One process ends without warning: the leader's of the first partition, and each fourth time the active controller's.
    Kill,
    /// The leader's process of the first partition stands still.
    Pause,
    /// All processes end without warning at once.
    Blackout,
    /// One node after another stops in good order and starts again.
    Roll,
}

impl How {
    /// What several of them are called.
    pub fn many(self) -> &'static str {
        match self {
            Self::Kill => "kills",
            Self::Pause => "pauses",
            Self::Blackout => "blackouts",
            Self::Roll => "rolling restarts",
        }
    }
}

/// The task that breaks nodes.
pub struct Breaking {
    stop: runtime::sync::ShutdownTrigger,
    task: task::JoinHandle<Result<u64, Failure>>,
}

impl Breaking {
    /// Breaks nodes this often from now on.
    pub fn start(
        how: How,
        every: Duration,
        cluster: LocalCluster,
        admin: Admin,
        topic: String,
        ledger: Arc<Lock<Ledger>>,
    ) -> Self {
        let (stop, stopping) = runtime::sync::shutdown();
        let breaker = Breaker { cluster, admin, topic };
        let task = task::spawn(async move {
            let mut times = 0;
            loop {
                runtime::select! {
                    () = stopping.requested() => return Ok(times),
                    () = time::sleep(every / 2) => {}
                }
                ledger.lock().gap_since_break = Duration::ZERO;
                let what = match how {
                    How::Kill => breaker.kill(times, every / 4).await?,
                    How::Pause => breaker.pause().await?,
                    How::Blackout => breaker.blackout(every / 4).await?,
                    How::Roll => breaker.roll().await?,
                };
                breaker.wait_whole().await?;
                times += 1;
                let gap = ledger.lock().gap_now().as_millis();
                eprintln!("{what}: {gap} ms without an acknowledgement");
            }
        });
        Self { stop, task }
    }

    /// Waits until everything is whole again. Returns how often nodes were broken.
    ///
    /// # Errors
    /// A node that does not come back.
    pub async fn finish(self) -> Result<u64, Failure> {
        self.stop.request();
        self.task.await?
    }
}

struct Breaker {
    cluster: LocalCluster,
    admin: Admin,
    topic: String,
}

impl Breaker {
    async fn kill(&self, times: u64, down: Duration) -> Result<String, Failure> {
        let controller = self.cluster.active_controller().await;
        let victim = match controller.filter(|_| times % 4 == 3) {
            Some(id) => id,
            None => self.leader(times).await,
        };
        self.cluster.kill(victim);
        time::sleep(down).await;
        self.cluster.start(victim).await?;
        self.cluster.wait_ready(victim).await?;
        let whose = if controller == Some(victim) { ", the active controller's" } else { "" };
        Ok(format!("killed node {victim}{whose}"))
    }

    async fn pause(&self) -> Result<String, Failure> {
        let controller = self.cluster.active_controller().await;
        let victim = self.leader(0).await;
        self.cluster.pause(victim);
        time::sleep(PAUSE).await;
        self.cluster.resume(victim);
        let whose = if controller == Some(victim) { ", the active controller's" } else { "" };
        Ok(format!("froze node {victim}{whose}, for {} s", PAUSE.as_secs()))
    }

    async fn blackout(&self, down: Duration) -> Result<String, Failure> {
        self.cluster.nodes.iter().for_each(|node| {
            self.cluster.kill(node.id);
        });
        time::sleep(down).await;
        for node in &self.cluster.nodes {
            self.cluster.start(node.id).await?;
        }
        for node in &self.cluster.nodes {
            self.cluster.wait_ready(node.id).await?;
        }
        Ok("killed all nodes".into())
    }

    async fn roll(&self) -> Result<String, Failure> {
        for node in &self.cluster.nodes {
            self.cluster.stop(node.id).await?;
            self.cluster.start(node.id).await?;
            self.cluster.wait_ready(node.id).await?;
            self.wait_whole().await?;
        }
        Ok("restarted all nodes in turn".into())
    }

    /// The leader of the first partition; if it has none, any broker.
    async fn leader(&self, times: u64) -> i32 {
        let described = self.admin.describe_topics(std::slice::from_ref(&self.topic)).await;
        let topic = described.ok().and_then(|mut topics| topics.remove(&self.topic)?.ok());
        let leader = topic.and_then(|topic| topic.partitions.first()?.leader);
        let brokers: Vec<i32> = self.cluster.brokers().map(|node| node.id).collect();
        leader.map_or(brokers[times as usize % brokers.len()], |leader| leader.0)
    }

    async fn is_whole(&self) -> bool {
        let Ok(mut topics) = self.admin.describe_topics(std::slice::from_ref(&self.topic)).await else { return false };
        let Some(Ok(topic)) = topics.remove(&self.topic) else { return false };
        let mut partitions = topic.partitions.iter();
        partitions.all(|partition| partition.leader.is_some() && partition.isr.len() == partition.replicas.len())
    }

    async fn wait_whole(&self) -> Result<(), Failure> {
        let deadline: Instant = time::now() + WHOLE_WITHIN;
        while !self.is_whole().await {
            if time::now() > deadline {
                let seconds = WHOLE_WITHIN.as_secs();
                return Err(Failure::new(format!("not all replicas are in sync again after {seconds} s")));
            }
            time::sleep(Duration::from_millis(100)).await;
        }
        Ok(())
    }
}
