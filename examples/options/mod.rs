//! What the example servers have in common: their command line, the line that says that they are
//! ready, and a clean end on SIGINT and SIGTERM.

use std::{io::IsTerminal, process::ExitCode, time::Duration};

use clap::Parser;
use sockeye::{Address, App, Backend, CompressionConfig, Result, Server, WebSocketConfig};

/// The options of every example. What it is about, and where its WebSocket is, it says itself.
#[derive(Parser, Debug, Clone)]
#[command(version, about = super::ABOUT)]
pub(crate) struct Options {
    /// Where to listen: HOST:PORT, [IPV6]:PORT or unix:PATH; port 0 for any free one
    #[arg(long, default_value = "127.0.0.1:9001", value_name = "ADDR")]
    pub(crate) listen: Vec<String>,
    /// How to speak to the kernel: auto, uring or epoll
    #[arg(long, default_value_t = Backend::Auto)]
    pub(crate) backend: Backend,
    /// Number of threads [default: one per core]
    #[arg(long, value_name = "N")]
    pub(crate) workers: Option<usize>,
    /// Bytes of the longest message
    #[arg(long, default_value_t = 16 << 10, value_name = "BYTES")]
    pub(crate) max_payload: usize,
    /// Seconds after which a silent socket is closed; 0 for never
    #[arg(long, default_value_t = 120, value_name = "SECS")]
    pub(crate) idle_timeout: u64,
    /// How to compress messages, with clients that can: off, shared or dedicated
    #[arg(long, default_value = "off", value_name = "MODE")]
    pub(crate) compression: CompressionConfig,
    /// Keep each thread on a core of its own
    #[arg(long)]
    pub(crate) pin: bool,
    /// Microseconds to look for work before a thread sleeps
    #[arg(long, default_value_t = 0, value_name = "MICROS")]
    pub(crate) busy_poll: u64,
}

impl Options {
    /// The settings of a WebSocket route, as far as they can be chosen.
    pub(crate) fn websocket_config(&self) -> WebSocketConfig {
        WebSocketConfig {
            max_payload_length: self.max_payload,
            idle_timeout: Duration::from_secs(self.idle_timeout),
            compression: self.compression,
            ..WebSocketConfig::default()
        }
    }

    /// Runs a server until it is told to stop.
    pub(crate) fn serve(self, app: impl Fn(&Self) -> App + Send + Sync + 'static) -> ExitCode {
        env_logger::Builder::from_env(env_logger::Env::default().default_filter_or("warn")).init();
        let Err(error) = self.run(app) else { return ExitCode::SUCCESS };
        eprintln!("error: {error}");
        ExitCode::FAILURE
    }

    fn run(self, app: impl Fn(&Self) -> App + Send + Sync + 'static) -> Result<()> {
        let options = self.clone();
        let mut server = Server::new(move || app(&options)).backend(self.backend).pin(self.pin);
        server = server.busy_poll(Duration::from_micros(self.busy_poll));
        for address in self.listen {
            server = server.listen(address);
        }
        if let Some(workers) = self.workers {
            server = server.workers(workers);
        }
        let running = server.start()?;
        let remote = running.remote();
        let count = remote.worker_count();
        let mut is_stopping = false;
        let stop = move || {
            if !is_stopping && std::io::stderr().is_terminal() {
                eprintln!("stopping; once more to stop at once");
            }
            let grace = if is_stopping { Duration::ZERO } else { GRACE };
            is_stopping = true;
            remote.shutdown(grace);
        };
        if let Err(error) = ctrlc::set_handler(stop) {
            eprintln!("warning: signals end this server without grace: {error}");
        }
        let urls: Vec<String> = running.addresses().iter().map(url).collect();
        let plural = if count == 1 { "" } else { "s" };
        let urls = urls.join(" and ");
        println!("listening on {urls} ({}, {count} worker{plural})", running.backend());
        running.join()
    }
}

fn url(address: &Address) -> String {
    match address {
        Address::Tcp(address) => format!("http://{address} and ws://{address}{}", super::SOCKET),
        unix @ Address::Unix(_) => unix.to_string(),
    }
}

/// How long clients have to say goodbye.
const GRACE: Duration = Duration::from_secs(5);
