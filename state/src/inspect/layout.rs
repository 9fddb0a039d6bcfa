//! The parts of a type, read from its shape.

/// A type, as its shape has it.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Type {
    /// Not known, so nothing after it can be read either.
    Unknown,
    Plain(String),
    Option(Box<Type>),
    List(Box<Type>),
    Map(Box<[Type; 2]>),
    Tuple(Vec<Type>),
    Struct(Vec<(String, Type)>),
    Enum(Vec<(String, Type)>),
}

/// Largest number of elements of an array in a shape.
const MOST: usize = 1 << 20;

impl Type {
    /// Reads a shape. What is not a shape is not known.
    pub(super) fn of(shape: &str) -> Self {
        let mut text = Text(shape);
        text.any().filter(|_| text.0.is_empty()).unwrap_or(Self::Unknown)
    }

    pub(super) fn is_unit(&self) -> bool {
        matches!(self, Self::Tuple(parts) if parts.is_empty())
    }
}

struct Text<'t>(&'t str);

impl Text<'_> {
    fn skip(&mut self, begin: &str) -> bool {
        self.0.strip_prefix(begin).map(|rest| self.0 = rest).is_some()
    }

    fn any(&mut self) -> Option<Type> {
        if self.skip("?") {
            return Some(Type::Unknown);
        }
        if self.skip("option(") {
            let inner = self.any()?;
            return self.skip(")").then(|| Type::Option(Box::new(inner)));
        }
        if self.skip("map(") {
            let key = self.any()?;
            let value = self.skip(", ").then(|| self.any())??;
            return self.skip(")").then(|| Type::Map(Box::new([key, value])));
        }
        if self.0.starts_with(['(', '[', '{']) {
            return self.compound();
        }
        if self.skip("<") {
            return self.variants();
        }
        let end = self.0.find(|c: char| !c.is_ascii_alphanumeric()).unwrap_or(self.0.len());
        let (name, rest) = self.0.split_at(end);
        self.0 = rest;
        (!name.is_empty()).then(|| Type::Plain(name.to_owned()))
    }

    fn compound(&mut self) -> Option<Type> {
        if self.skip("[") {
            let element = self.any()?;
            if self.skip("; ") {
                let (count, rest) = self.0.split_once(']')?;
                self.0 = rest;
                let count = count.parse().ok().filter(|count| *count <= MOST)?;
                return Some(Type::Tuple(vec![element; count]));
            }
            return self.skip("]").then(|| Type::List(Box::new(element)));
        }
        if self.skip("(") {
            return self.parts(")", Self::any).map(Type::Tuple);
        }
        self.skip("{")
            .then(|| {
                self.parts("}", |text| {
                    let name = text.name()?;
                    text.skip(": ").then(|| text.any())?.map(|part| (name, part))
                })
            })?
            .map(Type::Struct)
    }

    fn variants(&mut self) -> Option<Type> {
        let mut variants = Vec::new();
        while !self.skip(">") {
            if !variants.is_empty() && !self.skip(" | ") {
                return None;
            }
            let name = self.name()?;
            let content = if self.0.starts_with(['(', '[', '{', '?']) { self.any()? } else { Type::Tuple(Vec::new()) };
            variants.push((name, content));
        }
        Some(Type::Enum(variants))
    }

    fn parts<P>(&mut self, end: &str, mut part: impl FnMut(&mut Self) -> Option<P>) -> Option<Vec<P>> {
        let mut parts = Vec::new();
        while !self.skip(end) {
            if !parts.is_empty() && !self.skip(", ") {
                return None;
            }
            parts.push(part(self)?);
        }
        Some(parts)
    }

    /// Reads a name, whose special characters are escaped.
    fn name(&mut self) -> Option<String> {
        let mut name = String::new();
        loop {
            if self.skip("\\u{") {
                let (code, rest) = self.0.split_once('}')?;
                name.push(u32::from_str_radix(code, 16).ok().and_then(char::from_u32)?);
                self.0 = rest;
                continue;
            }
            match self.0.chars().next().filter(|c| c.is_ascii_alphanumeric() || *c == '_') {
                Some(char) => {
                    name.push(char);
                    self.0 = self.0.get(1..)?;
                }
                None => return Some(name),
            }
        }
    }
}
