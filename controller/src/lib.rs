//! A controller of the cluster: decides its metadata, and commits every decision through Raft before it answers.
//!
//! What can be wrong about Kafka is in [`control`], which is pure. Around it stand shells: `server` takes requests, decides
//! and answers, `raft` commits and applies. The crate imports nothing of brokers; they speak to it over the controller plane.
//!
//! ```text
//! server/connection -> server/handlers -> server/decisions -> control          records, nothing changed yet
//!                                                          -> raft             committed and applied: now it has
//!                                                          <- the answers
//! ```

mod config;
pub mod control;
pub mod event;
mod raft;
mod server;

pub use config::ControllerConfig;
pub use raft::{Leadership, OpenError, QuorumOptions, StartError};

use control::{Control, ControlSettings};
use metadata::image::Image;
use protocol::{ids::BrokerId, internal::BrokerProbeRequest};
use raft::{Quorum, Raft};
use runtime::{
    disk::{DirectoryLock, Disk},
    net::Listener,
    sync::{Shutdown, ShutdownTrigger, shutdown},
    task::{self, JoinHandle},
};
use server::{Authorizer, Decider, Decisions, Handlers, Limits};
use std::{io, net::SocketAddr, sync::Arc};
use thiserror::Error;

/// Why a controller could not start.
#[derive(Debug, Error)]
pub enum ControllerError {
    /// `controller.quorum.voters` does not name this node.
    #[error("node {0} is not among controller.quorum.voters")]
    NotAVoter(BrokerId),
    /// Its address is taken, or not this machine's.
    #[error("cannot listen on {address}")]
    Bind {
        /// `host:port`.
        address: String,
        /// What the system says.
        #[source]
        cause: io::Error,
    },
    /// Another process has the directory.
    #[error("{directory} is in use by another process, or cannot be locked")]
    Locked {
        /// The directory.
        directory: String,
        /// What the system says.
        #[source]
        cause: io::Error,
    },
    /// Raft does not start with what is on the disk.
    #[error(transparent)]
    Raft(#[from] StartError),
}

/// A running controller. Dropping it stops it without ceremony; [`Controller::stop`] hands its leadership over first.
pub struct Controller {
    node_id: BrokerId,
    address: SocketAddr,
    raft: Raft,
    stop_deciding: ShutdownTrigger,
    stop_serving: Arc<ShutdownTrigger>,
    deciding: JoinHandle<()>,
    serving: Vec<JoinHandle<()>>,
    _lock: DirectoryLock,
}

impl Controller {
    /// Listens where the configuration says, and takes part in the quorum.
    ///
    /// # Errors
    /// [`ControllerError`].
    pub async fn start(config: ControllerConfig, disk: Disk) -> Result<Self, ControllerError> {
        let address = config.bind.clone();
        let listener = Listener::bind(&address).await;
        let listener = listener.map_err(|cause| ControllerError::Bind { address, cause })?;
        Self::start_on(listener, config, disk).await
    }

    /// As [`Controller::start`], on a listener that exists already; `bind` is not looked at. Who lets the system choose
    /// ports binds all listeners first, and then knows the voters' addresses.
    ///
    /// # Errors
    /// [`ControllerError`].
    pub async fn start_on(listener: Listener, config: ControllerConfig, disk: Disk) -> Result<Self, ControllerError> {
        let node_id = config.node_id;
        if !config.voters.contains_key(&node_id) {
            return Err(ControllerError::NotAVoter(node_id));
        }
        let lock = lock(&disk)?;
        let quorum = Quorum { node_id, cluster_id: config.cluster_id.clone(), voters: config.voters.clone() };
        let raft = Raft::start(&disk, quorum.clone(), config.quorum.clone()).await?;
        let (stop_deciding, deciding) = shutdown();
        let (stop_serving, serving) = shutdown();
        let stop_serving = Arc::new(stop_serving);
        let (decisions, commands) = Decisions::channel();
        let decider = Decider {
            raft: raft.clone(),
            control: Control::new(ControlSettings {
                cluster_id: config.cluster_id.clone(),
                properties: config.properties.clone(),
                session_timeout_ms: config.broker_session_timeout.as_millis() as u64,
            }),
            commands,
            decisions: decisions.clone(),
            probe_request: BrokerProbeRequest {
                principal: format!("User:controller-{node_id}"),
                cluster_id: config.cluster_id.clone(),
                controller_id: node_id,
            },
            inter_broker_listener: config.inter_broker_listener.clone(),
            quorum_timeout: config.quorum_timeout,
            balance_interval: config.balance_interval,
            shutdown: deciding,
        };
        let handlers = Arc::new(Handlers {
            listener: config.listener.as_str().into(),
            quorum,
            raft: raft.clone(),
            decisions: decisions.clone(),
            authorizer: Authorizer::new(&config.properties),
            request_timeout: config.request_timeout,
        });
        let limits = Limits { frame_bytes_max: config.frame_bytes_max, idle_max: config.idle_max };
        let address = listener.local_address();
        tracing::info!(%node_id, %address, "controller started");
        let serve = server::serve(listener, handlers, decisions, limits, serving.clone());
        let serving = vec![task::spawn(serve), task::spawn(initialize(raft.clone(), serving))];
        let deciding = task::spawn(decide(decider, stop_serving.clone()));
        Ok(Self { node_id, address, raft, stop_deciding, stop_serving, deciding, serving, _lock: lock })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// `node.id`.
    pub fn node_id(&self) -> BrokerId {
        self.node_id
    }

    /// The metadata that is committed and applied on this node.
    pub fn image(&self) -> Image {
        self.raft.applied().image()
    }

    /// The leader of the quorum, as far as this node knows.
    pub fn leader(&self) -> Option<BrokerId> {
        self.leadership().leader
    }

    /// Who leads the quorum, in which term, and whether this node does, as far as it knows.
    pub fn leadership(&self) -> Leadership {
        self.raft.leadership().current()
    }

    /// Waits until this controller has stopped by itself, because its disk failed for instance, and says why. It serves
    /// nobody then, and nothing can be done but to stop it and start another.
    pub async fn failed(&self) -> String {
        let mut leadership = self.raft.leadership();
        while leadership.changed().await {}
        self.raft.failure().unwrap_or_else(|| "it was stopped".to_owned())
    }

    /// Stops in good order: decides nothing more, hands leadership to another controller, writes everything to the device.
    pub async fn stop(self) {
        self.stop_deciding.request();
        // A task that panicked has said so already; there is nothing left to stop in it.
        let _ = self.deciding.await;
        self.raft.hand_over().await;
        self.raft.stop().await;
        self.stop_serving.request();
        for task in self.serving {
            let _ = task.await;
        }
        tracing::info!(node_id = %self.node_id, "controller stopped");
    }
}

/// Claims the metadata log's directory for this process.
fn lock(disk: &Disk) -> Result<DirectoryLock, ControllerError> {
    let directory = raft::DIRECTORY;
    let locked = disk.create_directory(directory).and_then(|()| disk.lock(&format!("{directory}/.lock")));
    locked.map_err(|cause| ControllerError::Locked { directory: format!("{}/{directory}", disk.root()), cause })
}

/// Decides to the end. When that is because Raft stopped by itself, nobody is served any more: what this node knows grows
/// old, and it would still name the leader that it knew last.
async fn decide(decider: Decider, stop_serving: Arc<ShutdownTrigger>) {
    if let Err(failure) = decider.run().await {
        tracing::error!(failure, "Raft has stopped by itself: this controller takes no further part");
        stop_serving.request();
    }
}

/// Begins an empty log, unless another controller does.
async fn initialize(raft: Raft, shutdown: Shutdown) {
    let initialized = runtime::select! {
        () = shutdown.requested() => return,
        initialized = raft.initialize() => initialized,
    };
    if let Err(error) = initialized {
        tracing::error!(%error, "the metadata log cannot be begun");
    }
}
