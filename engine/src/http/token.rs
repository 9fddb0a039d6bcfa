//! The token that a request must have to change something.

use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use rand::TryRngCore;
use rand::rngs::OsRng;
use subtle::ConstantTimeEq;

/// A secret text.
pub(super) struct Token(String);

impl Token {
    /// Least number of characters: 64 random bits in hexadecimal.
    const SHORTEST: usize = 16;

    /// Draws a token of 128 random bits.
    pub(super) fn draw() -> io::Result<Self> {
        let mut bytes = [0; 16];
        OsRng.try_fill_bytes(&mut bytes).map_err(io::Error::other)?;
        Ok(Self(bytes.iter().map(|byte| format!("{byte:02x}")).collect()))
    }

    /// Takes a token that somebody has chosen. The error says what is wrong with it, without showing it.
    pub(super) fn chosen(text: &str) -> Result<Self, String> {
        let text = text.trim();
        if text.len() < Self::SHORTEST {
            return Err(format!("it has {} characters, the minimum is {}", text.len(), Self::SHORTEST));
        }
        if !text.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err("it has characters that cannot be in a header: use letters and digits".to_owned());
        }
        Ok(Self(text.to_owned()))
    }

    /// Writes the token to a file that only its owner may read.
    pub(super) fn write(&self, path: &Path) -> io::Result<()> {
        // One that is there may be readable by others, and keeps its permissions when it is written to.
        match fs::remove_file(path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
        writeln!(file, "{}", self.0)
    }

    /// Returns whether `given` is this token, in a time that does not depend on how much of it is right.
    pub(super) fn is(&self, given: &str) -> bool {
        self.0.as_bytes().ct_eq(given.as_bytes()).into()
    }

    /// Returns the token itself, to be shown to whoever reads the log of the job.
    pub(super) fn secret(&self) -> &str {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn only_the_token_itself_is_right() {
        let (one, other) = (Token::draw().unwrap(), Token::draw().unwrap());
        assert!(one.is(one.secret()) && !one.is(other.secret()));
        for wrong in ["", "x", &one.secret()[1..], &format!("{}x", one.secret())] {
            assert!(!one.is(wrong), "{wrong}");
        }
    }

    #[test]
    fn a_chosen_token_is_long_enough_and_fits_into_a_header() {
        assert!(Token::chosen("0123456789abcdef\n").unwrap().is("0123456789abcdef"));
        for (wrong, why) in
            [("short", "it has 5 characters"), ("0123456789 abcdef", "header"), ("0123456789äbcdef", "header")]
        {
            assert!(Token::chosen(wrong).err().unwrap().contains(why), "{wrong}");
        }
    }

    #[test]
    fn nobody_else_can_read_the_file_even_if_there_was_one() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("http-token");
        fs::write(&path, "old").unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
        let token = Token::draw().unwrap();
        token.write(&path).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert!(token.is(fs::read_to_string(&path).unwrap().trim()));
    }
}
