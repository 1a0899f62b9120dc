//! The machines of clients.

use super::*;

impl World {
    /// A machine for a client, which never crashes. Returns its id.
    pub fn add_client(&mut self) -> i32 {
        let id = FIRST_CLIENT + self.clients.len() as i32;
        let number = id - FIRST_CLIENT;
        let ip = IpAddr::from([10, 1, (number / 200) as u8, (number % 200 + 1) as u8]);
        let node = simulation::add_node(&format!("c{number}"), ip);
        self.clients.insert(id, node);
        self.know(node, id);
        self.set_links(id);
        id
    }

    /// Runs a program on a client's machine.
    pub fn start_client(&self, id: i32, program: impl Future<Output = ()> + Send + 'static) {
        simulation::start(self.clients[&id], program);
    }

    /// Where clients find the cluster.
    pub fn bootstrap(&self) -> Vec<String> {
        let brokers = self.machines.values().filter(|machine| machine.is_broker);
        brokers.map(|machine| format!("{}:{CLIENT_PORT}", machine.ip)).collect()
    }

    /// Freezes a client that runs, chosen by `pick` among those that are not frozen already. Answers whom.
    pub fn pause_client(&mut self, pick: u64) -> Option<i32> {
        let awake = |id: &i32| !self.paused_clients.contains(id) && simulation::is_running(self.node(*id));
        let all: Vec<i32> = self.clients().filter(awake).collect();
        let id = *all.get(pick as usize % all.len().max(1))?;
        self.paused_clients.insert(id);
        simulation::pause(self.node(id));
        Some(id)
    }

    /// Lets a frozen client go on.
    pub fn resume_client(&mut self, id: i32) {
        if self.paused_clients.remove(&id) && simulation::is_running(self.node(id)) {
            simulation::resume(self.node(id));
        }
    }
}
