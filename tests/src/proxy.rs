//! A TCP proxy with simulated faults: delay, low bandwidth, silence, cut connections, or a flipped byte.

use std::{net::SocketAddr, sync::Arc, thread, time::Duration};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{
        TcpListener, TcpStream,
        tcp::{OwnedReadHalf, OwnedWriteHalf},
    },
    sync::{mpsc, watch},
    time::Instant,
};

const BUFFER: usize = 16 * 1024;
/// The number of buffers in flight in one direction, which limits the data in a delayed connection.
const UNDER_WAY: usize = 64;

/// The current faults of the proxy.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct NetworkFaults {
    /// The delay of each byte.
    pub delay: Duration,
    /// The bandwidth of each direction of a connection; 0 means unlimited.
    pub bytes_per_second: u32,
    /// Connections are accepted and stay open, but no data arrives.
    pub silent: bool,
    /// New connections are closed at once.
    pub closed: bool,
    /// A connection is cut after this number of bytes to the client, even inside a message; 0 means never.
    pub cut_after: usize,
    /// The byte after this text is changed on its way to the client.
    pub corrupt_after: Option<&'static [u8]>,
}

#[derive(Debug, Clone, Copy, Default)]
struct State {
    faults: NetworkFaults,
    /// The number of times that all connections were cut.
    cuts: u32,
}

/// A proxy for one address. It has its own thread, so that it outlives the runtime of a single test.
pub struct Proxy {
    port: u16,
    state: Arc<watch::Sender<State>>,
}

impl Proxy {
    /// Starts listening on a free port of 127.0.0.1. `target` need not accept connections yet.
    pub fn start(target: &str) -> Self {
        let target: SocketAddr = target.parse().expect("the address is valid");
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
        let port = listener.local_addr().expect("a bound socket has an address").port();
        listener.set_nonblocking(true).expect("a socket can be asynchronous");
        let state = Arc::new(watch::Sender::new(State::default()));
        let seen = Arc::clone(&state);
        thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
            runtime.block_on(serve(listener, target, &seen));
        });
        Self { port, state }
    }

    /// The port of the proxy.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Sets the faults, for open connections too.
    pub fn set_faults(&self, faults: NetworkFaults) {
        self.state.send_modify(|state| state.faults = faults);
    }

    /// Cuts all connections; new ones are accepted.
    pub fn cut(&self) {
        self.state.send_modify(|state| state.cuts += 1);
    }
}

async fn serve(listener: std::net::TcpListener, target: SocketAddr, state: &watch::Sender<State>) {
    let listener = TcpListener::from_std(listener).expect("a socket of this runtime");
    loop {
        // A client that disconnected before it was accepted is ignored.
        let Ok((client, _)) = listener.accept().await else { continue };
        if !state.borrow().faults.closed {
            tokio::spawn(connection(client, target, state.subscribe()));
        }
    }
}

/// Forwards both directions until one side closes or the connection is cut.
async fn connection(client: TcpStream, target: SocketAddr, mut state: watch::Receiver<State>) {
    let cuts = state.borrow().cuts;
    let Ok(server) = TcpStream::connect(target).await else { return };
    // Without this, Nagle's algorithm would add delays.
    let _ = (client.set_nodelay(true), server.set_nodelay(true));
    let (from_client, to_client) = client.into_split();
    let (from_server, to_server) = server.into_split();
    tokio::select! {
        () = forward(from_client, to_server, state.clone(), false) => {}
        () = forward(from_server, to_client, state.clone(), true) => {}
        _ = state.wait_for(|state| state.cuts != cuts) => {}
    }
}

async fn forward(mut from: OwnedReadHalf, to: OwnedWriteHalf, state: watch::Receiver<State>, to_client: bool) {
    let (sender, receiver) = mpsc::channel(UNDER_WAY);
    let read = async {
        let mut buffer = vec![0; BUFFER];
        while let Ok(length @ 1..) = from.read(&mut buffer).await {
            let due = Instant::now() + state.borrow().faults.delay;
            if sender.send((due, buffer[..length].to_vec())).await.is_err() {
                return;
            }
        }
    };
    tokio::select! {
        () = read => {}
        () = write(to, receiver, state.clone(), to_client) => {}
    }
}

async fn write(
    mut to: OwnedWriteHalf,
    mut receiver: mpsc::Receiver<(Instant, Vec<u8>)>,
    mut state: watch::Receiver<State>,
    to_client: bool,
) {
    let mut written = 0;
    while let Some((due, mut bytes)) = receiver.recv().await {
        tokio::time::sleep_until(due).await;
        let Ok(faults) = state.wait_for(|state| !state.faults.silent).await.map(|state| state.faults) else {
            return;
        };
        if to_client {
            if let Some(text) = faults.corrupt_after {
                corrupt(&mut bytes, text);
            }
            if faults.cut_after > 0 && written + bytes.len() > faults.cut_after {
                bytes.truncate(faults.cut_after.saturating_sub(written));
                let _ = to.write_all(&bytes).await;
                return;
            }
        }
        if faults.bytes_per_second > 0 {
            let milliseconds = bytes.len() as u64 * 1000 / u64::from(faults.bytes_per_second);
            tokio::time::sleep(Duration::from_millis(milliseconds)).await;
        }
        if to.write_all(&bytes).await.is_err() {
            return;
        }
        written += bytes.len();
    }
}

/// Changes the byte after the text, if both are in the buffer.
fn corrupt(bytes: &mut [u8], text: &[u8]) {
    let place = bytes.windows(text.len()).position(|window| window == text);
    if let Some(byte) = place.and_then(|place| bytes.get_mut(place + text.len())) {
        *byte ^= 1;
    }
}

#[cfg(test)]
mod tests {
    use tokio::{
        io::{AsyncReadExt as _, AsyncWriteExt as _},
        net::{TcpListener, TcpStream},
    };

    use super::{NetworkFaults, Proxy};
    use std::time::{Duration, Instant};

    async fn echo() -> Proxy {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let proxy = Proxy::start(&listener.local_addr().unwrap().to_string());
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                tokio::spawn(async move {
                    let (mut from, mut to) = stream.split();
                    tokio::io::copy(&mut from, &mut to).await
                });
            }
        });
        proxy
    }

    async fn ask(stream: &mut TcpStream, text: &str) -> std::io::Result<String> {
        stream.write_all(text.as_bytes()).await?;
        let mut answer = vec![0; text.len()];
        stream.read_exact(&mut answer).await?;
        Ok(String::from_utf8_lossy(&answer).into_owned())
    }

    #[tokio::test]
    async fn faults_hold_for_open_connections_and_new_ones() {
        let proxy = echo().await;
        let connect = || TcpStream::connect(("127.0.0.1", proxy.port()));
        let mut stream = connect().await.unwrap();
        assert_eq!(ask(&mut stream, "fair").await.unwrap(), "fair");

        proxy.set_faults(NetworkFaults { delay: Duration::from_millis(50), ..NetworkFaults::default() });
        let start = Instant::now();
        assert_eq!(ask(&mut stream, "slow").await.unwrap(), "slow");
        assert!(start.elapsed() >= Duration::from_millis(100), "the delay applies to both directions");

        proxy.set_faults(NetworkFaults { corrupt_after: Some(b"key"), ..NetworkFaults::default() });
        assert_eq!(ask(&mut stream, "key0").await.unwrap(), "key1");

        proxy.set_faults(NetworkFaults { silent: true, ..NetworkFaults::default() });
        let silent = tokio::time::timeout(Duration::from_millis(100), ask(&mut stream, "hello")).await;
        assert!(silent.is_err(), "nothing arrives: {silent:?}");

        proxy.cut();
        assert!(ask(&mut stream, "cut").await.is_err());
        proxy.set_faults(NetworkFaults { cut_after: 3, ..NetworkFaults::default() });
        let mut stream = connect().await.unwrap();
        assert_eq!(ask(&mut stream, "abc").await.unwrap(), "abc");
        assert!(ask(&mut stream, "d").await.is_err());
        proxy.set_faults(NetworkFaults { closed: true, ..NetworkFaults::default() });
        assert!(ask(&mut connect().await.unwrap(), "closed").await.is_err());
    }
}
