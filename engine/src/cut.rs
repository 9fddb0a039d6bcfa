//! Texts of a bounded length.

use std::fmt::{self, Write};

/// Writes a text up to `longest` bytes, followed by `…` if that is not all of it; what is longer is not even formatted.
pub(crate) fn cut(text: fmt::Arguments<'_>, longest: usize) -> String {
    let mut short = Cut { text: String::new(), longest };
    if short.write_fmt(text).is_err() {
        short.text.push('…');
    }
    short.text
}

struct Cut {
    text: String,
    longest: usize,
}

impl Write for Cut {
    fn write_str(&mut self, piece: &str) -> fmt::Result {
        let room = self.longest - self.text.len();
        if piece.len() <= room {
            self.text.push_str(piece);
            return Ok(());
        }
        self.text.extend(piece.get(..piece.floor_char_boundary(room)));
        Err(fmt::Error)
    }
}

#[cfg(test)]
mod tests {
    use super::cut;

    #[test]
    fn a_long_text_is_cut_between_characters() {
        assert_eq!(cut(format_args!("{}{}", "ab", "cd"), 4), "abcd");
        assert_eq!(cut(format_args!("{}{}", "abc", "ä"), 4), "abc…");
        assert_eq!(cut(format_args!("{}{}", "abcd", "e"), 4), "abcd…");
    }
}
