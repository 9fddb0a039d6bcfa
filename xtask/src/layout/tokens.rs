//! The tokens of a Rust file, as far as a reader of imports needs them: without comments and the contents of literals.

/// A token. `::` is one token; every other mark is a token of its own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Token {
    Name(String),
    PathSeparator,
    Mark(char),
    /// A string, a character or a number.
    Literal,
}

pub fn tokens(text: &str) -> Vec<Token> {
    let mut reader = Reader { chars: text.chars().collect(), at: 0, tokens: Vec::new() };
    while let Some(first) = reader.peek(0) {
        reader.token(first);
    }
    reader.tokens
}

struct Reader {
    chars: Vec<char>,
    at: usize,
    tokens: Vec<Token>,
}

impl Reader {
    fn peek(&self, ahead: usize) -> Option<char> {
        self.chars.get(self.at + ahead).copied()
    }

    fn token(&mut self, first: char) {
        match (first, self.peek(1)) {
            ('/', Some('/')) => self.skip_while(|c| c != '\n'),
            ('/', Some('*')) => self.block_comment(),
            ('"', _) => self.string(),
            ('\'', _) => self.character_or_lifetime(),
            (':', Some(':')) => self.push(Token::PathSeparator, 2),
            _ if first.is_alphabetic() || first == '_' => self.name(),
            _ if first.is_ascii_digit() => {
                self.skip_while(|c| c.is_alphanumeric() || c == '_');
                self.push(Token::Literal, 0);
            }
            _ if first.is_whitespace() => self.at += 1,
            _ => self.push(Token::Mark(first), 1),
        }
    }

    fn push(&mut self, token: Token, chars: usize) {
        self.tokens.push(token);
        self.at += chars;
    }

    fn skip_while(&mut self, goes_on: impl Fn(char) -> bool) {
        while self.peek(0).is_some_and(&goes_on) {
            self.at += 1;
        }
    }

    /// Skips a block comment, and the block comments nested in it.
    fn block_comment(&mut self) {
        let mut depth = 0_usize;
        while let Some(first) = self.peek(0) {
            match (first, self.peek(1)) {
                ('/', Some('*')) => depth += 1,
                ('*', Some('/')) => depth -= 1,
                _ => {
                    self.at += 1;
                    continue;
                }
            }
            self.at += 2;
            if depth == 0 {
                return;
            }
        }
    }

    /// Reads a string, from the opening quote to after the closing one.
    fn string(&mut self) {
        self.at += 1;
        while let Some(c) = self.peek(0) {
            self.at += if c == '\\' { 2 } else { 1 };
            if c == '"' {
                break;
            }
        }
        self.push(Token::Literal, 0);
    }

    /// Reads a raw string, from the first `#` or quote to after the last one.
    fn raw_string(&mut self) {
        let hashes = self.chars.iter().skip(self.at).take_while(|c| **c == '#').count();
        self.at += hashes + 1;
        while let Some(c) = self.peek(0) {
            self.at += 1;
            if c == '"' && (0..hashes).all(|ahead| self.peek(ahead) == Some('#')) {
                self.at += hashes;
                break;
            }
        }
        self.push(Token::Literal, 0);
    }

    fn character_or_lifetime(&mut self) {
        if self.peek(1) == Some('\\') {
            self.at += 3;
            self.skip_while(|c| c != '\'');
            self.push(Token::Literal, 1);
        } else if self.peek(2) == Some('\'') {
            self.push(Token::Literal, 3);
        } else {
            self.at += 1;
            self.skip_while(|c| c.is_alphanumeric() || c == '_');
        }
    }

    /// Reads a name, or the letters before a string: `r"…"`, `br#"…"#`, `c"…"`. `r#type` is the name `type`.
    fn name(&mut self) {
        let start = self.at;
        self.skip_while(|c| c.is_alphanumeric() || c == '_');
        let name: String = self.chars.iter().take(self.at).skip(start).collect();
        let is_prefix = matches!(name.as_str(), "r" | "b" | "c" | "br" | "cr");
        match (self.peek(0), self.peek(1)) {
            (Some('"'), _) if is_prefix && name.contains('r') => self.raw_string(),
            (Some('"'), _) if is_prefix => self.string(),
            (Some('\''), _) if name == "b" => self.character_or_lifetime(),
            (Some('#'), Some('"' | '#')) if is_prefix => self.raw_string(),
            (Some('#'), Some(_)) if name == "r" => self.at += 1, // the name follows
            _ => self.tokens.push(Token::Name(name)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_comments_and_literals_say_is_no_token() {
        let text = r####"a /* b /* c */ d */ "e \" f" r#"g " h"# b'\'' 'i' 'k: r#type 1.5_f64 // l
            m::n"####;
        let names: Vec<String> = tokens(text)
            .into_iter()
            .filter_map(|token| match token {
                Token::Name(name) => Some(name),
                _ => None,
            })
            .collect();
        assert_eq!(names, ["a", "type", "m", "n"]);
        assert_eq!(tokens("m::n").get(1), Some(&Token::PathSeparator));
    }
}
