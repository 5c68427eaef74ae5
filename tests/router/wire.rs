//! MongoDB's wire protocol, as much of it as drivers use here: OP_MSG, and OP_QUERY for the first `hello`.

use std::io::Cursor;

use anyhow::{Result, bail, ensure};
use mongodb::bson::{Bson, Document};
use tokio::io::AsyncReadExt as _;
use tokio::net::TcpStream;

const OP_REPLY: i32 = 1;
const OP_QUERY: i32 = 2004;
const OP_MSG: i32 = 2013;
const CHECKSUM_PRESENT: u32 = 1;
const MORE_TO_COME: u32 = 2;
const LARGEST: usize = 48_000_000;

/// In which form a command came, and its answer goes.
#[derive(Clone, Copy, Debug)]
pub enum Kind {
    Query,
    Message,
}

/// One command.
#[derive(Debug)]
pub struct Request {
    pub id: i32,
    pub kind: Kind,
    pub database: String,
    pub command: Document,
    pub wants_reply: bool,
}

/// The next command; `None` when the client has gone.
pub async fn read(stream: &mut TcpStream) -> Result<Option<Request>> {
    let mut header = [0; 16];
    if stream.read_exact(&mut header).await.is_err() {
        return Ok(None);
    }
    let number = |at: usize| {
        i32::from_le_bytes([header[at], header[at + 1], header[at + 2], header[at + 3]])
    };
    let length = usize::try_from(number(0))?;
    ensure!(
        (16..LARGEST).contains(&length),
        "a message of {length} bytes"
    );
    let mut body = vec![0; length - 16];
    stream.read_exact(&mut body).await?;
    let id = number(4);
    match number(12) {
        OP_MSG => message(id, &body).map(Some),
        OP_QUERY => query(id, &body).map(Some),
        other => bail!("opcode {other}"),
    }
}

fn message(id: i32, body: &[u8]) -> Result<Request> {
    let mut at = Reader(body);
    let flags = at.u32()?;
    if flags & CHECKSUM_PRESENT != 0 {
        ensure!(at.0.len() >= 4, "no checksum");
        at.0 = &at.0[..at.0.len() - 4];
    }
    let mut command = Document::new();
    let mut sequences = Vec::new();
    while let Some((kind, rest)) = at.0.split_first() {
        at.0 = rest;
        match kind {
            0 => command = at.document()?,
            1 => {
                let size = usize::try_from(at.u32()?)?.saturating_sub(4);
                ensure!(at.0.len() >= size, "a short sequence");
                let (section, rest) = at.0.split_at(size);
                at.0 = rest;
                let mut section = Reader(section);
                let name = section.text()?;
                let mut documents = Vec::new();
                while !section.0.is_empty() {
                    documents.push(Bson::Document(section.document()?));
                }
                sequences.push((name, documents));
            }
            other => bail!("section kind {other}"),
        }
    }
    command.extend(
        sequences
            .into_iter()
            .map(|(name, all)| (name, Bson::Array(all))),
    );
    let database = command.get_str("$db").unwrap_or("admin").to_owned();
    Ok(Request {
        id,
        kind: Kind::Message,
        database,
        command,
        wants_reply: flags & MORE_TO_COME == 0,
    })
}

fn query(id: i32, body: &[u8]) -> Result<Request> {
    let mut at = Reader(body);
    at.u32()?;
    let collection = at.text()?;
    at.u32()?;
    at.u32()?;
    let database = collection.split('.').next().unwrap_or_default().to_owned();
    Ok(Request {
        id,
        kind: Kind::Query,
        database,
        command: at.document()?,
        wants_reply: true,
    })
}

/// The bytes of an answer.
pub fn reply(to: i32, id: i32, kind: Kind, document: &Document) -> Result<Vec<u8>> {
    let mut body = Vec::new();
    let opcode = match kind {
        Kind::Message => {
            body.extend([0; 5]); // no flags, section kind 0
            OP_MSG
        }
        Kind::Query => {
            body.extend([8, 0, 0, 0]); // AwaitCapable
            body.extend([0; 12]); // no cursor, from the first
            body.extend(1_i32.to_le_bytes());
            OP_REPLY
        }
    };
    document.to_writer(&mut body)?;
    let length = i32::try_from(body.len() + 16)?;
    let header = [length, id, to, opcode];
    let mut bytes: Vec<u8> = header.iter().flat_map(|n| n.to_le_bytes()).collect();
    bytes.append(&mut body);
    Ok(bytes)
}

struct Reader<'a>(&'a [u8]);

impl Reader<'_> {
    fn u32(&mut self) -> Result<u32> {
        let (bytes, rest) = self
            .0
            .split_first_chunk()
            .ok_or_else(|| anyhow::anyhow!("cut off"))?;
        self.0 = rest;
        Ok(u32::from_le_bytes(*bytes))
    }

    fn text(&mut self) -> Result<String> {
        let end = self.0.iter().position(|b| *b == 0);
        let end = end.ok_or_else(|| anyhow::anyhow!("a text without an end"))?;
        let text = std::str::from_utf8(&self.0[..end])?.to_owned();
        self.0 = &self.0[end + 1..];
        Ok(text)
    }

    fn document(&mut self) -> Result<Document> {
        let mut cursor = Cursor::new(self.0);
        let document = Document::from_reader(&mut cursor)?;
        self.0 = &self.0[usize::try_from(cursor.position())?..];
        Ok(document)
    }
}
