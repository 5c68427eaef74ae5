//! The bearer token that keeps the status private.

use std::path::Path;

use subtle::ConstantTimeEq;

/// Long enough for any token, short enough not to be another file.
const LONGEST: usize = 4096;

/// A token that requests have to bring.
#[derive(Clone)]
pub struct Token(String);

impl Token {
    /// The token in this file.
    ///
    /// # Errors
    /// The file cannot be read, or holds no token.
    pub fn from_file(path: &Path) -> std::io::Result<Self> {
        read(path).map(Self)
    }

    /// Whether this is it. Takes as long for a wrong one as for the right one of that length.
    pub fn is(&self, given: &[u8]) -> bool {
        self.0.as_bytes().ct_eq(given).into()
    }
}

/// A token stands for itself in no log and no message.
impl std::fmt::Debug for Token {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Token")
    }
}

/// Reads a token: one word, without the white space around it.
///
/// # Errors
/// The file cannot be read, or holds no token.
pub fn read(path: &Path) -> std::io::Result<String> {
    let text = std::fs::read_to_string(path)?;
    let token = text.trim();
    let bad = |why: String| Err(std::io::Error::new(std::io::ErrorKind::InvalidData, why));
    if token.is_empty() {
        return bad("it is empty; write one word into it".into());
    }
    if token.len() > LONGEST || !token.bytes().all(|b| b.is_ascii_graphic()) {
        return bad(format!(
            "it is no token: allowed is one word of up to {LONGEST} letters, digits and signs, without spaces"
        ));
    }
    Ok(token.to_owned())
}
