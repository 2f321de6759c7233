//! A network of its own: a server in a namespace, and a link that goes down and comes back.
//!
//! Needs root and `ip` (iproute2); without them it is skipped, loudly. Packets are lost and late
//! as well where the kernel has `netem`.

use std::{
    process::Command,
    thread,
    time::{Duration, Instant},
};

use crate::{
    alone, descriptors_at_rest, expect_rest,
    support::{
        Frame, Peer, frame, numbered,
        process::{Process, cases},
    },
};

cases!(a_link_goes_down_and_comes_back, packets_are_lost_and_late);

/// A namespace at the other end of a link. Dropped, it goes.
struct Network {
    name: String,
    near: String,
    far: String,
}

impl Network {
    /// `None` if that is not to be had.
    fn new(backend: &str) -> Option<Self> {
        let number = std::process::id() % 200 + 20;
        let name = format!("sockeye-{backend}-{number}");
        let link = |side: &str| format!("sk{side}{number}{}", &backend[..1]);
        let network = Self { name, near: link("n"), far: link("f") };
        let (name, near, far) = (&network.name, &network.near, &network.far);
        let lines = [
            format!("netns add {name}"),
            format!("link add {near} type veth peer name {far} netns {name}"),
            format!("address add 10.213.{number}.1/24 dev {near}"),
            format!("link set {near} up"),
            format!("-n {name} address add 10.213.{number}.2/24 dev {far}"),
            format!("-n {name} link set {far} up"),
            format!("-n {name} link set lo up"),
        ];
        for line in &lines {
            if let Err(error) = ip(line) {
                eprintln!("SKIPPED: no network namespaces here (ip {line}: {error})");
                return None;
            }
        }
        Some(network)
    }

    fn start(&self, backend: &str) -> Option<Process> {
        let listen = format!("SOCKEYE_LISTEN=10.213.{}.2:0", std::process::id() % 200 + 20);
        let within = ["ip", "netns", "exec", &self.name, "env", &listen];
        Process::start_within(&within, backend, 1000)
    }

    fn set_link(&self, state: &str) {
        ip(&format!("link set {} {state}", self.near)).unwrap();
    }
}

impl Drop for Network {
    fn drop(&mut self) {
        let _ = ip(&format!("link delete {}", self.near));
        let _ = ip(&format!("netns delete {}", self.name));
    }
}

fn ip(line: &str) -> Result<(), String> {
    let output = Command::new("ip").args(line.split(' ')).output();
    let output = output.map_err(|error| error.to_string())?;
    match output.status.success() {
        true => Ok(()),
        false => Err(String::from_utf8_lossy(&output.stderr).trim().to_owned()),
    }
}

/// What is sent while the link is down arrives when it is back; who does not come back is missed
/// after the idle timeout.
fn a_link_goes_down_and_comes_back(backend: &str) {
    let _alone = alone();
    let Some(network) = Network::new(backend) else { return };
    let Some(process) = network.start(backend) else { return };
    let base = descriptors_at_rest(&process);
    let mut patient: Vec<Peer> = (0..30).map(|_| process.open("/")).collect();
    let idle: Vec<Peer> = (0..30).map(|_| process.open("/idle")).collect();
    for peer in &mut patient {
        peer.binary(b"before");
        peer.expect_frame(Frame::BINARY, b"before");
    }
    network.set_link("down");
    for peer in &mut patient {
        (0..20).for_each(|number| peer.binary(&numbered(number, 1000)));
    }
    // Longer than the idle timeout, so that those on the other route are given up.
    thread::sleep(Duration::from_millis(3500));
    network.set_link("up");
    let start = Instant::now();
    for peer in &mut patient {
        for number in 0..20 {
            peer.expect_frame(Frame::BINARY, &numbered(number, 1000));
        }
    }
    eprintln!("the link is back, {backend}: all has arrived after {:?}", start.elapsed());
    for mut peer in idle {
        // Its end, or the reset that answers what it says to a socket that is no more.
        peer.write_if_possible(&frame(Frame::BINARY, b"still there?"));
        peer.read_to_end();
    }
    drop(patient);
    expect_rest(&process, base);
}

/// One packet in twenty is lost, and all are late: slower, and right.
fn packets_are_lost_and_late(backend: &str) {
    let _alone = alone();
    let Some(network) = Network::new(backend) else { return };
    let netem = ["qdisc", "add", "dev", &network.near, "root", "netem", "delay", "10ms", "5ms"];
    let output = Command::new("tc").args(netem).args(["loss", "5%"]).output();
    if !output.is_ok_and(|output| output.status.success()) {
        return eprintln!("SKIPPED: this kernel has no netem, so that no packets are lost");
    }
    let Some(process) = network.start(backend) else { return };
    let base = descriptors_at_rest(&process);
    let mut peers: Vec<Peer> = (0..10).map(|_| process.open("/")).collect();
    for peer in &mut peers {
        (0..20).for_each(|number| peer.binary(&numbered(number, 3000)));
    }
    for peer in &mut peers {
        for number in 0..20 {
            peer.expect_frame(Frame::BINARY, &numbered(number, 3000));
        }
    }
    drop(peers);
    expect_rest(&process, base);
}
