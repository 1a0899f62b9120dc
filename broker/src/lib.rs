//! A broker: serves Kafka's APIs, keeps and replicates partitions.
//!
//! This file is the assembly, and nothing else. From the top floor down, and never up: `server` reads requests and sends
//! answers; `handlers` know what each API means; `replication` copies from leaders and tells the controller who is in sync;
//! `partitions` brings the metadata's changes to every replica, `lifecycle` is the broker's standing with the controller;
//! `partition` is one replica, `metadata_cache` the cluster's metadata.

pub mod config;
pub mod controller_link;
pub mod coordinator;
pub mod event;
pub mod fetch_sessions;
pub mod metrics;
pub mod partition;
pub mod partitions;
pub mod replication;
pub mod report;
pub mod throttle;

mod handlers;
mod lifecycle;
mod metadata_cache;
mod server;

pub use config::{BrokerConfig, ListenerConfig, Settings};
pub use partitions::LoadError;

use controller_link::ControllerLink;
use handlers::Services;
use lifecycle::{Lifecycle, Registration};
use metadata::config::Origin;
use metadata::delta::Changes;
use metadata::image::{Image, METADATA_VERSION, METADATA_VERSION_RANGE};
use metadata_cache::MetadataSource;
use partitions::{Loaded, Partitions, PartitionsConfig};
use protocol::{
    api::Plane,
    ids::{BrokerEpoch, BrokerId, IncarnationId, MetadataOffset},
};
use replication::{assignments, fetcher::FetcherConfig, fetchers::Fetchers, isr_updates::IsrUpdates};
use runtime::{
    disk::Disk,
    rand,
    sync::{Shutdown, ShutdownTrigger, shutdown, watch},
    task::{self, JoinHandle},
    time,
};
use server::{BoundListener, Server};
use std::{collections::BTreeMap, io, net::SocketAddr, sync::Arc, time::Duration};

/// How long a stopping broker asks the controller to move its leaderships before it stops anyhow.
const LEAVE_MAX: Duration = Duration::from_secs(20);
/// How long it goes on asking without an answer: there may be no controller any more, when a whole cluster stops.
const LEAVE_SILENCE_MAX: Duration = Duration::from_secs(2);

/// Why a broker could not start.
#[derive(Debug, thiserror::Error)]
pub enum BrokerError {
    /// No controller is configured.
    #[error("a broker needs the address of at least one controller")]
    NoControllers,
    /// A listener's address is taken, or not this machine's.
    #[error("cannot listen on {address}")]
    Bind {
        /// `host:port`.
        address: String,
        /// What the system says.
        #[source]
        cause: io::Error,
    },
    /// The log directories cannot be used.
    #[error(transparent)]
    Load(#[from] LoadError),
}

/// Where a broker listens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Addresses {
    /// For clients.
    pub client: SocketAddr,
    /// For other brokers and for controllers.
    pub inter_broker: SocketAddr,
}

/// A running broker. Dropping it stops it without ceremony; [`Broker::stop`] gives its leaderships away first.
pub struct Broker {
    addresses: Addresses,
    services: Arc<Services>,
    server: Arc<Server>,
    serving: watch::Receiver<bool>,
    stop_heartbeats: ShutdownTrigger,
    stop_tasks: ShutdownTrigger,
    heartbeats: JoinHandle<()>,
    tasks: Vec<JoinHandle<()>>,
}

impl Broker {
    /// Listens, opens the log directories (recovering what needs it), and begins to register, to follow the metadata and to
    /// copy from leaders. Returns then: clients are served once the controller has unfenced the broker ([`Broker::ready`]);
    /// until then their connections wait.
    ///
    /// # Errors
    /// See [`BrokerError`].
    pub async fn start(mut config: BrokerConfig, disks: Vec<Disk>) -> Result<Self, BrokerError> {
        if config.properties.node_id().is_none() {
            // Its own dynamic settings are found by the id that its static ones name.
            let (properties, id) = (Arc::make_mut(&mut config.properties), config.node_id.to_string());
            properties.set("node.id", &id, Origin::CommandLine).expect("a broker's id is not negative");
        }
        if config.controllers.is_empty() {
            return Err(BrokerError::NoControllers);
        }
        let (client, inter_broker) = config.listeners();
        let client = bind(&client, Plane::Client).await?;
        let inter_broker = bind(&inter_broker, Plane::InterBroker).await?;
        let incarnation_id = IncarnationId(rand::uuid());
        let loaded = Partitions::load(partitions_config(&config, incarnation_id), disks).await?;
        Ok(Self::assemble(config, client, inter_broker, incarnation_id, loaded))
    }

    fn assemble(
        config: BrokerConfig,
        client: BoundListener,
        inter_broker: BoundListener,
        incarnation_id: IncarnationId,
        loaded: Loaded,
    ) -> Self {
        let Loaded { partitions, previous_broker_epoch, outgoing } = loaded;
        let addresses = Addresses { client: client.local_address(), inter_broker: inter_broker.local_address() };
        let registration = registration(&config, incarnation_id, &client, &inter_broker, &partitions);
        let fetching = fetcher_config(&config, inter_broker.endpoint().name.clone());
        let source = MetadataSource {
            node_id: config.node_id,
            cluster_id: config.cluster_id.clone(),
            controllers: config.controllers.clone(),
        };
        let link = |name| ControllerLink::new(config.controllers.clone(), format!("broker-{}{name}", config.node_id));
        let controllers = Arc::new(link(""));
        let heartbeat_link = link("-heartbeat").telling(controllers.clone());
        let lifecycle = Lifecycle::new(incarnation_id, previous_broker_epoch);
        let services = Arc::new(Services::new(config, partitions.clone(), controllers.clone(), lifecycle));

        let (stop_heartbeats, leaving) = shutdown();
        let heartbeats = task::spawn(heartbeats(services.clone(), registration, heartbeat_link, leaving));
        let server = Arc::new(Server::new(services.clone()));
        server.serve(inter_broker);
        let (stop_tasks, stop) = shutdown();
        let (serve_clients, serving) = watch::channel(false);
        let fetchers = Fetchers::new(partitions.context().clone(), fetching, outgoing.fetching);
        let isr_updates = IsrUpdates::new(partitions.clone(), controllers.clone(), outgoing.proposals);
        let tasks = vec![
            task::spawn(follow(services.clone(), source, stop.clone())),
            task::spawn(fetchers.run(stop.clone())),
            task::spawn(isr_updates.run(stop.clone())),
            task::spawn(assignments::run(
                partitions.context().clone(),
                controllers,
                outgoing.assignments,
                stop.clone(),
            )),
            task::spawn(partitions.clone().run(stop.clone())),
            task::spawn(partitions.run_cleaner(stop.clone())),
            task::spawn(open(services.clone(), server.clone(), client, serve_clients, stop)),
        ];
        let node_id = services.config.node_id;
        tracing::info!(%node_id, client = %addresses.client, inter_broker = %addresses.inter_broker, "broker started");
        Self { addresses, services, server, serving, stop_heartbeats, stop_tasks, heartbeats, tasks }
    }

    /// Its id.
    pub fn node_id(&self) -> BrokerId {
        self.services.config.node_id
    }

    /// Where it listens.
    pub fn addresses(&self) -> Addresses {
        self.addresses
    }

    /// The newest metadata that it knows.
    pub fn image(&self) -> Arc<Image> {
        self.services.metadata.image()
    }

    /// Every replica on it, for whoever looks on.
    pub fn partitions(&self) -> &Arc<Partitions> {
        &self.services.partitions
    }

    /// Whether clients are served: the broker is registered, has recovered its partitions, and is not fenced.
    pub fn is_ready(&self) -> bool {
        *self.serving.borrow() && self.image().is_active(self.node_id())
    }

    /// What it says of itself, for whoever scrapes it: see [`report::samples`].
    pub fn samples(&self, all_partitions: bool) -> Vec<report::Sample> {
        report::samples(&self.services, all_partitions)
    }

    /// Under which registration it acts; `None` until the first was accepted.
    pub fn broker_epoch(&self) -> Option<BrokerEpoch> {
        self.services.lifecycle.broker_epoch()
    }

    /// Waits until clients are served.
    pub async fn ready(&self) {
        // An error says that it stops: then nobody is served any more.
        let _ = self.serving.clone().wait_for(|serving| *serving).await;
    }

    /// Waits until every log directory has failed. Nothing can be done then but to stop the broker.
    pub async fn failed(&self) {
        self.services.partitions.all_directories_failed().await;
    }

    /// Stops in good order: gives its leaderships away (where `controlled.shutdown.enable` says so), ends every connection,
    /// closes every log, and leaves the mark of a clean stop.
    pub async fn stop(self) {
        let Self { services, server, .. } = self;
        let Services { config, settings, partitions, lifecycle, .. } = &*services;
        if settings.controlled_shutdown && !lifecycle.leave(LEAVE_MAX, LEAVE_SILENCE_MAX).await {
            tracing::warn!("the controller did not let the broker go in time");
        }
        self.stop_tasks.request();
        server.stop().await;
        for task in self.tasks {
            // One that panicked has said so; there is nothing left to stop in it.
            let _ = task.await;
        }
        services.coordinator.stop();
        self.stop_heartbeats.request();
        let _ = self.heartbeats.await;
        partitions.shutdown(lifecycle.broker_epoch()).await;
        tracing::info!(node_id = %config.node_id, "broker stopped");
    }
}

async fn bind(listener: &ListenerConfig, plane: Plane) -> Result<BoundListener, BrokerError> {
    let bound = BoundListener::bind(listener, plane).await;
    bound.map_err(|cause| BrokerError::Bind { address: listener.bind.clone(), cause })
}

/// Registers and sends heartbeats.
async fn heartbeats(services: Arc<Services>, registration: Registration, link: ControllerLink, stop: Shutdown) {
    let failed_directories = || services.partitions.failed_directories();
    let interval = services.settings.heartbeat_interval;
    services.lifecycle.run(registration, link, &services.metadata, failed_directories, interval, stop).await;
}

/// Follows the metadata, and brings what changes to the partitions.
async fn follow(services: Arc<Services>, source: MetadataSource, stop: Shutdown) {
    let brought = |image: &Image, changes: &Changes| {
        services.partitions.apply(image, changes);
        services.coordinator.apply(image, changes);
    };
    services.metadata.follow(source, brought, stop).await;
}

/// Asks to be unfenced once the metadata holds this broker's registration, and serves clients once it is.
async fn open(
    services: Arc<Services>,
    server: Arc<Server>,
    client: BoundListener,
    serving: watch::Sender<bool>,
    stop: Shutdown,
) {
    let (metadata, lifecycle, node_id) = (&services.metadata, &services.lifecycle, services.config.node_id);
    let unfenced = async {
        let far = time::now() + Duration::from_secs(u64::from(u32::MAX));
        let broker_epoch = lifecycle.registered().await;
        metadata.wait_for(MetadataOffset(broker_epoch.0).next(), far).await;
        lifecycle.set_ready();
        metadata.wait_until(far, |image| image.is_active(node_id)).await;
    };
    runtime::select! {
        () = stop.requested() => return,
        () = unfenced => {}
    }
    server.serve(client);
    serving.send_replace(true);
    tracing::info!(%node_id, "clients are served");
}

fn partitions_config(config: &BrokerConfig, incarnation_id: IncarnationId) -> PartitionsConfig {
    PartitionsConfig {
        node_id: config.node_id,
        cluster_id: config.cluster_id.clone(),
        incarnation_id,
        properties: config.properties.clone(),
    }
}

fn registration(
    config: &BrokerConfig,
    incarnation_id: IncarnationId,
    client: &BoundListener,
    inter_broker: &BoundListener,
    partitions: &Partitions,
) -> Registration {
    Registration {
        node_id: config.node_id,
        cluster_id: config.cluster_id.clone(),
        incarnation_id,
        listeners: vec![inter_broker.endpoint().clone(), client.endpoint().clone()],
        features: BTreeMap::from([(METADATA_VERSION.to_owned(), METADATA_VERSION_RANGE)]),
        rack: config.rack.clone(),
        directories: partitions.online_directories(),
    }
}

fn fetcher_config(config: &BrokerConfig, listener: String) -> FetcherConfig {
    let properties = &config.properties;
    let millis = |name| Duration::from_millis(properties.unsigned(name));
    FetcherConfig {
        listener,
        rack: config.rack.clone().unwrap_or_default(),
        wait_max: millis("replica.fetch.wait.max.ms"),
        bytes_min: properties.int("replica.fetch.min.bytes"),
        partition_bytes_max: properties.int("replica.fetch.max.bytes"),
        response_bytes_max: properties.int("replica.fetch.response.max.bytes"),
        pause_max: millis("replica.fetch.backoff.ms"),
        socket_timeout: millis("replica.socket.timeout.ms"),
    }
}
