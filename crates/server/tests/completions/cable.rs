//! A cable between client and server. It counts connections, can be cut, and may end TLS.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use tokenroute_llm::ToyModel;
use tokenroute_llm::http::{Http, HttpConfig};
use tokenroute_server::net::Server;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, copy_bidirectional, split};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Runtime;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};

/// The authority that signed the certificate below.
pub const AUTHORITY: &[u8] = include_bytes!("../fixtures/tls/authority.pem");
const CERTIFICATE: &[u8] = include_bytes!("../fixtures/tls/server.pem");
const KEY: &[u8] = include_bytes!("../fixtures/tls/server-key.pem");

#[derive(Default)]
struct Seen {
    connections: AtomicUsize,
    /// Number of dead connections, the oldest first.
    cut: AtomicUsize,
    /// The protocol that TLS negotiated in each successful handshake.
    spoken: Mutex<Vec<String>>,
}

pub struct Cable {
    pub address: SocketAddr,
    seen: Arc<Seen>,
    _runtime: Runtime,
}

impl Cable {
    /// A cable that passes bytes on.
    pub fn plain(server: &Server) -> Cable {
        Cable::new(server, None)
    }

    /// A cable that ends TLS and offers these protocols.
    pub fn tls(server: &Server, offers: &[&str]) -> Cable {
        let certificate = CertificateDer::from_pem_slice(CERTIFICATE).expect("a certificate");
        let key = PrivateKeyDer::from_pem_slice(KEY).expect("a key");
        let config = ServerConfig::builder().with_no_client_auth();
        let mut config = config.with_single_cert(vec![certificate], key).expect("a pair");
        config.alpn_protocols = offers.iter().map(|name| name.as_bytes().to_vec()).collect();
        Cable::new(server, Some(TlsAcceptor::from(Arc::new(config))))
    }

    fn new(server: &Server, tls: Option<TlsAcceptor>) -> Cable {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .expect("a runtime");
        let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0")).expect("a port");
        let address = listener.local_addr().expect("an address");
        let (seen, upstream) = (Arc::<Seen>::default(), server.address());
        let log = Arc::clone(&seen);
        runtime.spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let number = log.connections.fetch_add(1, Ordering::SeqCst);
                let (tls, log) = (tls.clone(), Arc::clone(&log));
                tokio::spawn(async move {
                    let server = TcpStream::connect(upstream).await.expect("the server");
                    for stream in [&client, &server] {
                        stream.set_nodelay(true).expect("an option");
                    }
                    match tls {
                        None => join(client, server, &log, number).await,
                        Some(tls) => secure(tls, client, server, &log).await,
                    }
                });
            }
        });
        Cable { address, seen, _runtime: runtime }
    }

    /// Number of connections so far.
    pub fn connections(&self) -> usize {
        self.seen.connections.load(Ordering::SeqCst)
    }

    /// The protocols that TLS negotiated.
    pub fn spoken(&self) -> Vec<String> {
        self.seen.spoken.lock().expect("no panic").clone()
    }

    /// Silently stops all traffic on the present connections.
    pub fn cut(&self) {
        self.seen.cut.store(self.connections(), Ordering::SeqCst);
    }

    pub fn client(&self, scheme: &str, change: impl FnOnce(&mut HttpConfig)) -> Http {
        let mut config = HttpConfig::new(&format!("{scheme}://{}", self.address));
        change(&mut config);
        Http::new(config, ToyModel::vocabulary(), None).expect("a good configuration")
    }
}

async fn secure(tls: TlsAcceptor, client: TcpStream, mut server: TcpStream, log: &Seen) {
    // A client that does not trust the certificate closes the connection.
    let Ok(mut client) = tls.accept(client).await else { return };
    let spoken = client.get_ref().1.alpn_protocol().unwrap_or_default();
    let spoken = String::from_utf8_lossy(spoken).into_owned();
    log.spoken.lock().expect("no panic").push(spoken);
    // Any end is accepted.
    drop(copy_bidirectional(&mut client, &mut server).await);
}

async fn join(client: TcpStream, server: TcpStream, log: &Seen, number: usize) {
    let (from_client, to_client) = split(client);
    let (from_server, to_server) = split(server);
    tokio::join!(
        pass(from_client, to_server, log, number),
        pass(from_server, to_client, log, number)
    );
}

async fn pass(
    mut from: impl AsyncRead + Unpin,
    mut to: impl AsyncWrite + Unpin,
    log: &Seen,
    number: usize,
) {
    let dead = || number < log.cut.load(Ordering::SeqCst);
    let mut bytes = [0; 4096];
    while let Ok(count @ 1..) = from.read(&mut bytes).await {
        if !dead() && to.write_all(&bytes[..count]).await.is_err() {
            return;
        }
    }
    if !dead() {
        // The other side may be closed already.
        drop(to.shutdown().await);
    }
}
