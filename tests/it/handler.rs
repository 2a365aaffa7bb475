//! A handler that speaks raw HTTP: it keeps every byte it gets and answers as it is told, rightly or not.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::mpsc::{self, Receiver, Sender};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use tokio::net::TcpSocket;

/// How long a test waits for something that must come.
const PATIENCE: Duration = Duration::from_secs(20);

/// A request as it stood on the wire.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RawRequest {
    /// The request line, without its end.
    pub line: String,
    /// Header fields in order: name and value as written.
    pub headers: Vec<(Vec<u8>, Vec<u8>)>,
    /// The body, unframed.
    pub body: Vec<u8>,
}

impl RawRequest {
    pub fn header(&self, name: &str) -> Option<&[u8]> {
        let is_it = |field: &&(Vec<u8>, Vec<u8>)| field.0.eq_ignore_ascii_case(name.as_bytes());
        self.headers.iter().find(is_it).map(|(_, value)| value.as_slice())
    }

    pub fn body_text(&self) -> &str {
        std::str::from_utf8(&self.body).unwrap()
    }
}

/// What to do with a request: writes an answer to the connection, or does not.
pub type Script = Box<dyn Fn(&RawRequest, &mut TcpStream) -> io::Result<()> + Send + Sync>;

/// A running handler; it ends with the test process.
pub struct Handler {
    address: SocketAddr,
    requests: Mutex<Receiver<RawRequest>>,
    script: Arc<Mutex<Arc<Script>>>,
}

impl Handler {
    /// A handler that answers 200 with a small JSON body.
    pub fn start() -> Self {
        Self::answering(200, r#"{"status":"success"}"#)
    }

    /// A handler that always gives the same answer.
    pub fn answering(status: u16, body: &str) -> Self {
        Self::scripted(answer(status, &[("Content-Type", "application/json")], body.as_bytes()))
    }

    /// A handler that follows a script; the connection stays open for the next request when it returns.
    pub fn scripted(script: Script) -> Self {
        Self::bound(TcpListener::bind("127.0.0.1:0").unwrap(), script)
    }

    fn bound(listener: TcpListener, script: Script) -> Self {
        let address = listener.local_addr().unwrap();
        let (seen, requests) = mpsc::channel();
        let script = Arc::new(Mutex::new(Arc::new(script)));
        let for_connections = Arc::clone(&script);
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (seen, script) = (seen.clone(), Arc::clone(&for_connections));
                thread::spawn(move || serve(stream, &seen, &script));
            }
        });
        Self { address, requests: Mutex::new(requests), script }
    }

    /// Behaves differently from now on.
    pub fn become_(&self, script: Script) {
        *self.script.lock().unwrap() = Arc::new(script);
    }

    pub fn port(&self) -> u16 {
        self.address.port()
    }

    /// The handler as a target.
    pub fn target(&self) -> String {
        format!("127.0.0.1:{}", self.port())
    }

    /// The next request; fails the test when none comes.
    pub fn next(&self) -> RawRequest {
        self.requests.lock().unwrap().recv_timeout(PATIENCE).expect("the handler gets a request")
    }

    /// The requests that came and were not asked for yet.
    pub fn drain(&self) -> Vec<RawRequest> {
        self.requests.lock().unwrap().try_iter().collect()
    }
}

/// A script that gives a whole answer with its length.
pub fn answer(status: u16, headers: &[(&str, &str)], body: &[u8]) -> Script {
    let mut bytes = format!("HTTP/1.1 {status} Whatever\r\nContent-Length: {}\r\n", body.len()).into_bytes();
    for (name, value) in headers {
        bytes.extend_from_slice(format!("{name}: {value}\r\n").as_bytes());
    }
    bytes.extend_from_slice(b"\r\n");
    bytes.extend_from_slice(body);
    raw(bytes)
}

/// A script that writes these bytes.
pub fn raw(bytes: impl Into<Vec<u8>>) -> Script {
    let bytes = bytes.into();
    Box::new(move |_, stream| stream.write_all(&bytes))
}

/// A script that answers 200, each time only when told to; dropping the other end ends it unanswered.
pub fn when_told() -> (Sender<()>, Script) {
    let (tell, told) = mpsc::channel::<()>();
    let told = Mutex::new(told);
    let script: Script = Box::new(move |_, stream| match told.lock().unwrap().recv() {
        Ok(()) => stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\ndone"),
        Err(_) => Err(io::ErrorKind::Other.into()),
    });
    (tell, script)
}

/// An address at which nobody listens, and the socket that keeps everybody else from it.
pub fn nobody() -> (String, TcpSocket) {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    (socket.local_addr().unwrap().to_string(), socket)
}

/// A port that nobody else is given, for a handler that is started there, again and again perhaps.
pub struct HeldPort(TcpSocket);

impl HeldPort {
    pub fn take() -> Self {
        let socket = TcpSocket::new_v4().unwrap();
        socket.set_reuseaddr(true).unwrap();
        socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
        Self(socket)
    }

    pub fn number(&self) -> u16 {
        self.0.local_addr().unwrap().port()
    }

    /// As a target.
    pub fn target(&self) -> String {
        format!("127.0.0.1:{}", self.number())
    }
}

fn serve(mut stream: TcpStream, seen: &Sender<RawRequest>, script: &Mutex<Arc<Script>>) -> io::Result<()> {
    let mut buffer = Vec::new();
    while let Some(request) = read_request(&mut stream, &mut buffer)? {
        // The test may be over, and its receiver gone.
        seen.send(request.clone()).ok();
        // Not under the lock: a slow script holds up its own connection only.
        let script = Arc::clone(&script.lock().unwrap());
        script(&request, &mut stream)?;
    }
    Ok(())
}

fn read_request(stream: &mut TcpStream, buffer: &mut Vec<u8>) -> io::Result<Option<RawRequest>> {
    let end = loop {
        if let Some(at) = buffer.windows(4).position(|window| window == b"\r\n\r\n") {
            break at + 4;
        }
        if !fill(stream, buffer)? {
            return Ok(None);
        }
    };
    let head: Vec<u8> = buffer.drain(..end).collect();
    let mut lines = head[..head.len() - 4]
        .split(|byte| *byte == b'\n')
        .map(|line| line.strip_suffix(b"\r").unwrap_or(line));
    let line = String::from_utf8_lossy(lines.next().unwrap()).into_owned();
    let headers: Vec<(Vec<u8>, Vec<u8>)> = lines
        .map(|line| {
            let colon = line.iter().position(|byte| *byte == b':').unwrap();
            (
                line[..colon].to_vec(),
                line[colon + 1..].strip_prefix(b" ").unwrap_or(&line[colon + 1..]).to_vec(),
            )
        })
        .collect();
    let mut request = RawRequest { line, headers, body: Vec::new() };
    let length =
        request.header("content-length").map_or(0, |value| String::from_utf8_lossy(value).parse().unwrap());
    while buffer.len() < length {
        if !fill(stream, buffer)? {
            return Ok(None);
        }
    }
    request.body = buffer.drain(..length).collect();
    Ok(Some(request))
}

fn fill(stream: &mut TcpStream, buffer: &mut Vec<u8>) -> io::Result<bool> {
    let mut chunk = [0; 16 * 1024];
    let length = stream.read(&mut chunk)?;
    buffer.extend_from_slice(&chunk[..length]);
    Ok(length > 0)
}
