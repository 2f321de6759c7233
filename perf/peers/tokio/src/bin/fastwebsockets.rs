//! Over `fastwebsockets`: echo. It has no fan-out, and reading cannot be interrupted to send.

use fastwebsockets::{FragmentCollector, OpCode, Role, WebSocket};
use peers::{Activity, Failure, Mode, Options, handshake, serve};
use tokio::net::TcpStream;

fn main() {
    let options = Options::parse(&[Mode::Echo]);
    let max_payload = options.max_payload;
    serve(options, move |stream, activity| echo(stream, activity, max_payload));
}

async fn echo(
    mut stream: TcpStream,
    activity: Activity,
    max_payload: usize,
) -> Result<(), Failure> {
    handshake::accept(&mut stream).await?;
    let mut socket = WebSocket::after_handshake(stream, Role::Server);
    socket.set_max_message_size(max_payload);
    let mut socket = FragmentCollector::new(socket);
    loop {
        let frame = socket.read_frame().await?;
        activity.mark();
        match frame.opcode {
            OpCode::Text | OpCode::Binary => socket.write_frame(frame).await?,
            OpCode::Close => return Ok(()),
            _ => {}
        }
    }
}
