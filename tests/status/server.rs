//! The real HTTP server, with documents that a test publishes.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use swarmset::status::document::Document;
use swarmset::status::http::Server;
use swarmset::status::token::Token;
use tokio::sync::watch;

/// A served status. It ends with the test's process.
pub struct Served {
    pub address: SocketAddr,
    publisher: watch::Sender<Arc<Document>>,
}

impl Served {
    pub fn start(document: Document) -> Self {
        Self::with_token(document, None)
    }

    pub fn with_token(document: Document, token_file: Option<&Path>) -> Self {
        Self::new(SocketAddr::from(([127, 0, 0, 1], 0)), document, token_file)
    }

    pub fn at(address: SocketAddr, document: Document) -> Self {
        Self::new(address, document, None)
    }

    fn new(at: SocketAddr, document: Document, token_file: Option<&Path>) -> Self {
        let token = token_file.map(|path| Token::from_file(path).expect("a token"));
        let (publisher, published) = watch::channel(Arc::new(document));
        let (tell, told) = std::sync::mpsc::channel();
        std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .expect("a runtime");
            runtime.block_on(async {
                let server = Server::bind(at).await.expect("a free port");
                tell.send(server.address().expect("an address"))
                    .expect("the test");
                server.serve(published, token).await;
            });
        });
        Self {
            address: told.recv().expect("the server"),
            publisher,
        }
    }

    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    pub fn publish(&self, document: Document) {
        self.publisher.send_replace(Arc::new(document));
    }
}

/// A file with this content, in the build's directory for temporary files.
pub fn file(name: &str, content: &str) -> std::path::PathBuf {
    let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    std::fs::write(&path, content).expect("a writable file");
    path
}

/// An answer: status code, head and body.
pub struct Answer {
    pub code: u16,
    pub head: String,
    pub body: String,
}

impl Served {
    pub fn get(&self, path: &str) -> Answer {
        self.ask(&format!(
            "GET {path} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"
        ))
    }

    pub fn get_with(&self, path: &str, header: &str) -> Answer {
        self.ask(&format!(
            "GET {path} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n{header}\r\n\r\n"
        ))
    }

    /// Sends these bytes, and reads until the server closes.
    pub fn ask(&self, request: &str) -> Answer {
        let mut stream = TcpStream::connect(self.address).expect("a connection");
        stream
            .set_read_timeout(Some(Duration::from_secs(20)))
            .expect("a time-out");
        // The server may have said no before it has all.
        let _ = stream.write_all(request.as_bytes());
        let mut bytes = Vec::new();
        let _ = stream.read_to_end(&mut bytes);
        let text = String::from_utf8_lossy(&bytes);
        let (head, body) = text.split_once("\r\n\r\n").unwrap_or((&text, ""));
        Answer {
            code: head
                .split(' ')
                .nth(1)
                .and_then(|c| c.parse().ok())
                .unwrap_or(0),
            head: head.to_ascii_lowercase(),
            body: body.to_owned(),
        }
    }
}
