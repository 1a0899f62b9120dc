//! `gregor doctor`: dials every address that a cluster tells its clients, from where the clients are.

use super::Bootstrap;
use crate::output::{self, Failure, Format};
use client::{
    Connection, ConnectionOptions,
    admin::Admin,
    cluster::{Cluster, ClusterOptions},
};
use runtime::task::block_on_real;
use std::{process::ExitCode, time::Duration};

/// How long one address may take.
const DIAL_WITHIN: Duration = Duration::from_secs(5);

/// Connects to every address that the brokers advertise, and says which one fails and why
#[derive(clap::Args)]
#[command(after_help = "Examples:\n  gregor doctor\n  gregor doctor --bootstrap broker-1.example:9092 -o json")]
pub struct Doctor {
    #[command(flatten)]
    bootstrap: Bootstrap,
    /// How to print what was found
    #[arg(long, short, value_enum, default_value = "table")]
    output: Format,
}

impl Doctor {
    /// Runs the command: exit code 1 when an address fails.
    pub fn run(self) -> Result<ExitCode, Failure> {
        let servers = self.bootstrap.servers()?;
        let (rows, advice) = block_on_real(examine(&servers))?;
        output::print_rows(self.output, &["ADDRESS", "OF", "RESULT"], &rows)?;
        advice.iter().for_each(|line| eprintln!("gregor: {line}"));
        Ok(ExitCode::from(u8::from(!advice.is_empty())))
    }
}

/// A row for each address, and what to do about those that fail.
async fn examine(servers: &[String]) -> Result<(Vec<Vec<String>>, Vec<String>), Failure> {
    let (mut rows, mut advice, mut reached) = (Vec::new(), Vec::new(), Vec::new());
    for server in servers {
        let result = dial(server).await;
        match &result {
            Ok(()) => reached.push(server.clone()),
            Err(why) => advice.push(format!("{server} does not answer: {why}")),
        }
        rows.push(vec![server.clone(), "bootstrap".to_owned(), words(&result)]);
    }
    if reached.is_empty() {
        return Ok((rows, advice));
    }
    let admin = Admin::new(Cluster::new(ClusterOptions::new(reached.clone())), DIAL_WITHIN);
    for broker in admin.describe_cluster().await?.brokers {
        let (address, id) = (format!("{}:{}", broker.host, broker.port), broker.broker_id);
        let result = dial(&address).await;
        if let Err(why) = &result {
            advice.push(advise(&address, &id.to_string(), &reached, why));
        }
        rows.push(vec![address, format!("broker {id}"), words(&result)]);
    }
    Ok((rows, advice))
}

async fn dial(address: &str) -> Result<(), String> {
    let options = ConnectionOptions {
        client_id: "gregor-doctor".into(),
        connect_timeout: DIAL_WITHIN,
        ..ConnectionOptions::default()
    };
    Connection::connect(address, options).await.map(drop).map_err(|error| error.to_string())
}

fn words(result: &Result<(), String>) -> String {
    result.as_ref().map_or_else(Clone::clone, |()| "ok".to_owned())
}

/// What is probably wrong with an advertised address that fails.
fn advise(address: &str, broker: &str, reached: &[String], why: &str) -> String {
    let host = |address: &str| address.rsplit_once(':').map_or(address, |(host, _)| host).to_owned();
    let is_local = |host: &str| host == "localhost" || host.starts_with("127.") || host == "::1" || host == "[::1]";
    let known = reached.first().map(|server| host(server)).unwrap_or_default();
    if is_local(&host(address)) && !is_local(&known) {
        let fix = format!("set advertised.listeners to PLAINTEXT://{known}:PORT");
        return format!("broker {broker} advertises {address}, which is only its own machine: {fix} there");
    }
    format!(
        "broker {broker} advertises {address}, which fails from here ({why}): set advertised.listeners to what clients reach"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_of_the_brokers_own_machine_is_told_apart() {
        let reached = ["broker.example:9092".to_owned()];
        let said = advise("localhost:9092", "1", &reached, "refused");
        assert!(said.contains("only its own machine") && said.contains("PLAINTEXT://broker.example:PORT"), "{said}");
        let said = advise("broker-2:9092", "2", &reached, "no such name");
        assert!(said.contains("fails from here (no such name)"), "{said}");
        let said = advise("localhost:9093", "2", &["localhost:9092".to_owned()], "refused");
        assert!(said.contains("fails from here"), "{said}");
    }
}
