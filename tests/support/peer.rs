//! [`Peer`]: the other end of a connection, played by a scenario.

use std::{
    io::{ErrorKind, Read, Write},
    net::{Shutdown, SocketAddr, TcpStream},
    rc::Rc,
    thread::{self, JoinHandle},
    time::Duration,
};

use socket2::{Domain, Socket, Type};
use sockeye::reactor::SimPeer;

use super::{
    Frame, Response,
    bed::{Inside, PATIENCE},
    close_payload, frame, handshake,
};

/// The other end of a connection. Dropped, it closes it.
pub(crate) struct Peer {
    line: Line,
    // Read, and not yet looked at.
    input: Vec<u8>,
    // Looked at, at the beginning of the input.
    start: usize,
    end: Option<End>,
    scratch: Box<[u8]>,
}

enum Line {
    Real { stream: TcpStream, pouring: Option<JoinHandle<()>> },
    Sim { bed: Rc<Inside>, peer: SimPeer },
}

/// How the server has ended a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum End {
    /// After its last byte.
    Fin,
    /// Without regard to what was under way.
    Reset,
}

impl Peer {
    /// Connects to a real server, with buffers of about this size.
    #[track_caller]
    pub(crate) fn real(address: SocketAddr, buffer: Option<usize>) -> Self {
        let socket = Socket::new(Domain::for_address(address), Type::STREAM, None).unwrap();
        if let Some(bytes) = buffer {
            socket.set_recv_buffer_size(bytes).unwrap();
            socket.set_send_buffer_size(bytes).unwrap();
        }
        socket.connect(&address.into()).unwrap();
        socket.set_tcp_nodelay(true).unwrap();
        Self::new(Line::Real { stream: socket.into(), pouring: None })
    }

    pub(super) fn simulated(bed: Rc<Inside>, peer: SimPeer) -> Self {
        Self::new(Line::Sim { bed, peer })
    }

    fn new(line: Line) -> Self {
        let scratch = match line {
            Line::Real { .. } => vec![0; READ_BYTES].into(),
            Line::Sim { .. } => Box::default(),
        };
        Self { line, input: Vec::new(), start: 0, end: None, scratch }
    }

    // Writing

    /// Sends bytes, in one segment if the kernel likes.
    #[track_caller]
    pub(crate) fn write(&mut self, bytes: &[u8]) {
        match &mut self.line {
            Line::Real { stream, .. } => stream.write_all(bytes).unwrap(),
            Line::Sim { peer, .. } => peer.write(bytes),
        }
    }

    /// Sends bytes that the server may already refuse to take.
    pub(crate) fn write_if_possible(&mut self, bytes: &[u8]) {
        match &mut self.line {
            Line::Real { stream, .. } => drop(stream.write_all(bytes)),
            Line::Sim { peer, .. } => peer.write(bytes),
        }
    }

    /// Sends bytes while the scenario goes on, as fast as the server takes them.
    pub(crate) fn pour(&mut self, bytes: Vec<u8>) {
        match &mut self.line {
            Line::Real { stream, pouring } => {
                let mut stream = stream.try_clone().unwrap();
                // Ends with an error if the connection is closed meanwhile.
                *pouring = Some(thread::spawn(move || drop(stream.write_all(&bytes))));
            }
            Line::Sim { peer, .. } => peer.write(&bytes),
        }
    }

    #[track_caller]
    pub(crate) fn text(&mut self, text: &str) {
        self.write(&frame(Frame::TEXT, text.as_bytes()));
    }

    #[track_caller]
    pub(crate) fn binary(&mut self, bytes: &[u8]) {
        self.write(&frame(Frame::BINARY, bytes));
    }

    #[track_caller]
    pub(crate) fn close(&mut self, code: u16, reason: &str) {
        self.write(&frame(Frame::CLOSE, &close_payload(code, reason)));
    }

    /// Ends the sending direction.
    pub(crate) fn shutdown(&mut self) {
        match &mut self.line {
            Line::Real { stream, .. } => stream.shutdown(Shutdown::Write).unwrap(),
            Line::Sim { peer, .. } => peer.shutdown(),
        }
    }

    /// Ends the sending direction, if the server has not broken the connection.
    pub(crate) fn shutdown_if_possible(&mut self) {
        match &mut self.line {
            Line::Real { stream, .. } => drop(stream.shutdown(Shutdown::Write)),
            Line::Sim { peer, .. } => peer.shutdown(),
        }
    }

    /// Breaks the connection.
    pub(crate) fn reset(mut self) {
        match &mut self.line {
            Line::Real { stream, .. } => {
                let socket = Socket::from(stream.try_clone().unwrap());
                socket.set_linger(Some(Duration::ZERO)).unwrap();
            }
            Line::Sim { peer, .. } => peer.reset(),
        }
    }

    pub(super) fn set_window(&mut self, bytes: usize) {
        if let Line::Sim { peer, .. } = &mut self.line {
            peer.set_window(bytes);
        }
    }

    // Reading

    /// The next frame. `None` if the connection has ended instead.
    #[track_caller]
    pub(crate) fn next_frame(&mut self) -> Option<Frame> {
        self.next(Frame::parse)
    }

    /// The next frame. `None` if the connection has ended instead, wherever that was.
    #[track_caller]
    pub(crate) fn frame_or_end(&mut self) -> Option<Frame> {
        self.next_or_end(Frame::parse)
    }

    /// The next response. `None` if the connection has ended instead, wherever that was.
    #[track_caller]
    pub(crate) fn response_or_end(&mut self, has_body: bool) -> Option<Response> {
        self.next_or_end(|bytes| Response::parse(bytes, has_body))
    }

    #[track_caller]
    pub(crate) fn frame(&mut self) -> Frame {
        self.next_frame().unwrap_or_else(|| panic!("a frame, and not {:?}", self.end))
    }

    /// The next frame, which must be a whole text.
    #[track_caller]
    pub(crate) fn read_text(&mut self) -> String {
        let frame = self.frame();
        assert!(frame.is_last && frame.opcode == Frame::TEXT, "a text, and not {frame:?}");
        String::from_utf8(frame.payload).unwrap()
    }

    #[track_caller]
    pub(crate) fn expect_text(&mut self, text: &str) {
        assert_eq!(self.read_text(), text);
    }

    #[track_caller]
    pub(crate) fn expect_frame(&mut self, opcode: u8, payload: &[u8]) {
        let frame = self.frame();
        assert!(frame.is_last, "{frame:?}");
        assert_eq!((frame.opcode, &frame.payload[..]), (opcode, payload));
    }

    /// The next frame must be a close frame like this.
    #[track_caller]
    pub(crate) fn expect_close(&mut self, code: u16, reason: &str) {
        self.expect_frame(Frame::CLOSE, &close_payload(code, reason));
    }

    /// Nothing more must come, and then this end.
    #[track_caller]
    pub(crate) fn expect_end(&mut self, end: End) {
        assert_eq!(self.read_to_end(), (vec![], end));
    }

    /// Our close frame has been answered, or has answered: the server ends first
    /// (RFC 6455 §7.1.1).
    #[track_caller]
    pub(crate) fn expect_goodbye(&mut self) {
        self.expect_end(End::Fin);
    }

    /// Everything up to the end, and how it ended.
    #[track_caller]
    pub(crate) fn read_to_end(&mut self) -> (Vec<u8>, End) {
        while self.fill(PATIENCE) {}
        let end = self.end.unwrap_or_else(|| panic!("no end after {:?}", self.rest()));
        (self.take(self.rest().len()), end)
    }

    #[track_caller]
    pub(crate) fn response(&mut self) -> Response {
        let response = self.next(|bytes| Response::parse(bytes, true));
        response.unwrap_or_else(|| panic!("a response, and not {:?}", self.end))
    }

    /// The response to a request that allows it no body.
    #[track_caller]
    pub(crate) fn response_head(&mut self) -> Response {
        let response = self.next(|bytes| Response::parse(bytes, false));
        response.unwrap_or_else(|| panic!("a response, and not {:?}", self.end))
    }

    #[track_caller]
    pub(crate) fn expect_status(&mut self, status: u16) -> Response {
        let response = self.response();
        assert_eq!(response.status, status, "{response:?}");
        response
    }

    /// Opens a WebSocket.
    #[track_caller]
    pub(crate) fn upgrade(&mut self, target: &str) {
        self.write(&handshake(target, ""));
        self.expect_switch();
    }

    /// The next thing must be the answer to a [`super::handshake`].
    #[track_caller]
    pub(crate) fn expect_switch(&mut self) -> Response {
        let response = self.response_head();
        assert_eq!(response.status, 101, "{response:?}");
        // RFC 6455 §1.3 has the value.
        let accept = response.header("Sec-WebSocket-Accept");
        assert_eq!(accept, Some("s3pPLMBiTxaQ9kYGzzhZRbK+xOo="));
        response
    }

    /// Nothing must come in this time, and no end.
    #[track_caller]
    pub(crate) fn expect_silence(&mut self, time: Duration) {
        self.fill(time);
        assert_eq!((self.rest(), self.end), (&[][..], None));
    }

    /// Whether a frame comes in this time.
    #[track_caller]
    pub(crate) fn has_frame(&mut self, time: Duration) -> bool {
        Frame::parse(self.rest()).is_some()
            || self.fill(time) && Frame::parse(self.rest()).is_some()
    }

    /// Whether a response comes in this time.
    #[track_caller]
    pub(crate) fn has_response(&mut self, time: Duration) -> bool {
        let is_there = |peer: &Self| Response::parse(peer.rest(), true).is_some();
        is_there(self) || self.fill(time) && is_there(self)
    }

    /// What has come, or comes next. Empty at the end.
    pub(crate) fn read_some(&mut self) -> Vec<u8> {
        if self.rest().is_empty() {
            self.fill(PATIENCE);
        }
        self.take(self.rest().len())
    }

    /// So many bytes.
    #[track_caller]
    pub(crate) fn read_exact(&mut self, count: usize) -> Vec<u8> {
        while self.rest().len() < count {
            assert!(self.fill(PATIENCE), "{count} bytes, and not {:?}", self.end);
        }
        self.take(count)
    }

    #[track_caller]
    fn next<T>(&mut self, parse: impl Fn(&[u8]) -> Option<(T, usize)>) -> Option<T> {
        let item = self.next_or_end(parse);
        if item.is_none() {
            assert_eq!(String::from_utf8_lossy(self.rest()), "", "ended in the middle");
        }
        item
    }

    #[track_caller]
    fn next_or_end<T>(&mut self, parse: impl Fn(&[u8]) -> Option<(T, usize)>) -> Option<T> {
        loop {
            if let Some((item, length)) = parse(self.rest()) {
                self.start += length;
                return Some(item);
            }
            if !self.fill(PATIENCE) {
                let rest = String::from_utf8_lossy(self.rest());
                assert!(self.end.is_some(), "nothing comes after {rest:?}");
                return None;
            }
        }
    }

    fn rest(&self) -> &[u8] {
        &self.input[self.start..]
    }

    fn take(&mut self, count: usize) -> Vec<u8> {
        let taken = self.rest()[..count].to_vec();
        self.start += count;
        taken
    }

    /// Reads more, and waits so long for it. Returns whether something has come.
    fn fill(&mut self, patience: Duration) -> bool {
        if self.end.is_some() {
            return false;
        }
        self.input.drain(..std::mem::take(&mut self.start));
        match &mut self.line {
            Line::Real { stream, .. } => {
                stream.set_read_timeout(Some(patience)).unwrap();
                match stream.read(&mut self.scratch) {
                    Ok(0) => self.end = Some(End::Fin),
                    Ok(count) => {
                        self.input.extend_from_slice(&self.scratch[..count]);
                        return true;
                    }
                    Err(error) if is_timeout(error.kind()) => {}
                    Err(_) => self.end = Some(End::Reset),
                }
                false
            }
            Line::Sim { bed, peer } => {
                let Inside::Sim(sim) = &**bed else { unreachable!("a peer of a simulation") };
                let give_up_at = sim.network.now() + patience;
                loop {
                    sim.settle();
                    let bytes = peer.read();
                    self.input.extend_from_slice(&bytes);
                    if !bytes.is_empty() {
                        return true;
                    }
                    if peer.was_reset() {
                        self.end = Some(End::Reset);
                    } else if peer.is_ended() {
                        self.end = Some(End::Fin);
                    }
                    if self.end.is_some() || sim.network.now() >= give_up_at {
                        return false;
                    }
                    sim.network.advance(Duration::from_millis(1));
                }
            }
        }
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        if let Line::Real { stream, pouring: Some(pouring) } = &mut self.line {
            let _ = stream.shutdown(Shutdown::Both);
            let _ = std::mem::replace(pouring, thread::spawn(|| {})).join();
        }
    }
}

fn is_timeout(kind: ErrorKind) -> bool {
    matches!(kind, ErrorKind::WouldBlock | ErrorKind::TimedOut)
}

const READ_BYTES: usize = 64 << 10;
