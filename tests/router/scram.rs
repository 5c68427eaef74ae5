//! The server's side of SCRAM-SHA-256 (RFC 5802, 7677) for the one user that knows the key: `__system`.

use anyhow::{Context, Result, ensure};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::{Digest as _, Sha256};

const USER: &str = "__system";
const ITERATIONS: u32 = 4096;
/// Tests alone: nobody keeps what is derived from it.
const SALT: &[u8] = b"salt of a stand-in for mongos";

/// What is derived from the key.
pub struct Secret {
    stored_key: Vec<u8>,
    server_key: Vec<u8>,
}

impl Secret {
    /// The key, without white space, is the password.
    pub fn of(key: &str) -> Self {
        let mut salted = [0; 32];
        pbkdf2::pbkdf2_hmac::<Sha256>(key.as_bytes(), SALT, ITERATIONS, &mut salted);
        Self {
            stored_key: Sha256::digest(sign(&salted, b"Client Key")).to_vec(),
            server_key: sign(&salted, b"Server Key"),
        }
    }
}

/// An exchange after its first message.
pub struct Exchange {
    /// Client's first message (bare) and server's first message.
    said: String,
    nonce: String,
}

impl Exchange {
    /// Takes the client's first message, `n,,n=<user>,r=<nonce>`.
    pub fn begin(payload: &[u8], _: &Secret) -> Result<(Self, String)> {
        let text = std::str::from_utf8(payload)?;
        let bare = text
            .strip_prefix("n,,")
            .context("no channel binding is known")?;
        ensure!(field(bare, "n=")? == USER, "only {USER} is known");
        let mut random = [0; 18];
        std::io::Read::read_exact(&mut std::fs::File::open("/dev/urandom")?, &mut random)?;
        let nonce = format!("{}{}", field(bare, "r=")?, STANDARD.encode(random));
        let reply = format!("r={nonce},s={},i={ITERATIONS}", STANDARD.encode(SALT));
        let said = format!("{bare},{reply}");
        Ok((Self { said, nonce }, reply))
    }

    /// Takes the client's proof, and gives the server's.
    pub fn finish(self, payload: &[u8], secret: &Secret) -> Result<String> {
        let text = std::str::from_utf8(payload)?;
        let (without_proof, proof) = text.rsplit_once(",p=").context("no proof")?;
        ensure!(field(without_proof, "r=")? == self.nonce, "another nonce");
        let said = format!("{},{without_proof}", self.said);
        let signature = sign(&secret.stored_key, said.as_bytes());
        let proof = STANDARD.decode(proof)?;
        ensure!(proof.len() == signature.len(), "a proof of another length");
        let key: Vec<u8> = proof.iter().zip(&signature).map(|(p, s)| p ^ s).collect();
        ensure!(
            Sha256::digest(&key).to_vec() == secret.stored_key,
            "another key"
        );
        let own = sign(&secret.server_key, said.as_bytes());
        Ok(format!("v={}", STANDARD.encode(own)))
    }
}

fn field<'a>(text: &'a str, name: &str) -> Result<&'a str> {
    let found = text.split(',').find_map(|f| f.strip_prefix(name));
    found.with_context(|| format!("no {name}"))
}

fn sign(key: &[u8], text: &[u8]) -> Vec<u8> {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).expect("keys may have any length");
    mac.update(text);
    mac.finalize().into_bytes().to_vec()
}
