//! Operations on single values, with the results of ONNX Runtime: they fold the graph around trees into the leaves, and
//! finish a row's score.

/// A value of a type that occurs around trees.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Scalar {
    F32(f32),
    I64(i64),
    Bool(bool),
}

/// An operation on one value, or on a value and a constant.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Op {
    Add,
    Sub,
    Mul,
    Div,
    Pow,
    Max,
    Min,
    Equal,
    Greater,
    Less,
    GreaterOrEqual,
    LessOrEqual,
}

/// An operation on one value.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Unary {
    Neg,
    Abs,
    Log,
    Exp,
    Sqrt,
    Not,
    ToF32,
    ToI64,
    ToBool,
}

impl Op {
    /// Returns the operation of ONNX with this name.
    pub(super) fn named(name: &str) -> Option<Self> {
        Some(match name {
            "Add" | "Sum" => Self::Add,
            "Sub" => Self::Sub,
            "Mul" => Self::Mul,
            "Div" => Self::Div,
            "Pow" => Self::Pow,
            "Max" => Self::Max,
            "Min" => Self::Min,
            "Equal" => Self::Equal,
            "Greater" => Self::Greater,
            "Less" => Self::Less,
            "GreaterOrEqual" => Self::GreaterOrEqual,
            "LessOrEqual" => Self::LessOrEqual,
            _ => return None,
        })
    }

    /// Returns the result; none for types that the operation does not take, and where ONNX does not define it.
    pub(super) fn of(self, left: Scalar, right: Scalar) -> Option<Scalar> {
        match (left, right) {
            (Scalar::F32(left), Scalar::F32(right)) => Some(self.of_f32(left, right)),
            (Scalar::I64(left), Scalar::I64(right)) => self.of_i64(left, right),
            (Scalar::Bool(left), Scalar::Bool(right)) if self == Self::Equal => Some(Scalar::Bool(left == right)),
            _ => None,
        }
    }

    fn of_f32(self, left: f32, right: f32) -> Scalar {
        match self {
            Self::Add => Scalar::F32(left + right),
            Self::Sub => Scalar::F32(left - right),
            Self::Mul => Scalar::F32(left * right),
            Self::Div => Scalar::F32(left / right),
            Self::Pow => Scalar::F32(left.powf(right)),
            // NaN is the result where one of the two is NaN, other than in Rust.
            Self::Max | Self::Min if left.is_nan() || right.is_nan() => Scalar::F32(f32::NAN),
            Self::Max => Scalar::F32(left.max(right)),
            Self::Min => Scalar::F32(left.min(right)),
            Self::Equal => Scalar::Bool(left == right),
            Self::Greater => Scalar::Bool(left > right),
            Self::Less => Scalar::Bool(left < right),
            Self::GreaterOrEqual => Scalar::Bool(left >= right),
            Self::LessOrEqual => Scalar::Bool(left <= right),
        }
    }

    fn of_i64(self, left: i64, right: i64) -> Option<Scalar> {
        Some(match self {
            Self::Add => Scalar::I64(left.checked_add(right)?),
            Self::Sub => Scalar::I64(left.checked_sub(right)?),
            Self::Mul => Scalar::I64(left.checked_mul(right)?),
            Self::Div => Scalar::I64(left.checked_div(right)?),
            Self::Pow => return None,
            Self::Max => Scalar::I64(left.max(right)),
            Self::Min => Scalar::I64(left.min(right)),
            Self::Equal => Scalar::Bool(left == right),
            Self::Greater => Scalar::Bool(left > right),
            Self::Less => Scalar::Bool(left < right),
            Self::GreaterOrEqual => Scalar::Bool(left >= right),
            Self::LessOrEqual => Scalar::Bool(left <= right),
        })
    }
}

impl Unary {
    /// Returns the operation of ONNX with this name. A cast is named with the number of the type that it yields.
    pub(super) fn named(name: &str, cast_to: Option<i64>) -> Option<Self> {
        Some(match (name, cast_to) {
            ("Neg", _) => Self::Neg,
            ("Abs", _) => Self::Abs,
            ("Log", _) => Self::Log,
            ("Exp", _) => Self::Exp,
            ("Sqrt", _) => Self::Sqrt,
            ("Not", _) => Self::Not,
            ("Cast", Some(1)) => Self::ToF32,
            ("Cast", Some(7)) => Self::ToI64,
            ("Cast", Some(9)) => Self::ToBool,
            _ => return None,
        })
    }

    /// Returns the result; none for types that the operation does not take, and where ONNX does not define it.
    pub(super) fn of(self, value: Scalar) -> Option<Scalar> {
        Some(match (self, value) {
            (Self::Neg, Scalar::F32(value)) => Scalar::F32(-value),
            (Self::Neg, Scalar::I64(value)) => Scalar::I64(value.checked_neg()?),
            (Self::Abs, Scalar::F32(value)) => Scalar::F32(value.abs()),
            (Self::Log, Scalar::F32(value)) => Scalar::F32(value.ln()),
            (Self::Exp, Scalar::F32(value)) => Scalar::F32(value.exp()),
            (Self::Sqrt, Scalar::F32(value)) => Scalar::F32(value.sqrt()),
            (Self::Not, Scalar::Bool(value)) => Scalar::Bool(!value),
            (Self::ToF32, Scalar::F32(value)) => Scalar::F32(value),
            (Self::ToF32, Scalar::I64(value)) => Scalar::F32(value as f32),
            (Self::ToF32, Scalar::Bool(value)) => Scalar::F32(f32::from(u8::from(value))),
            (Self::ToI64, Scalar::I64(value)) => Scalar::I64(value),
            (Self::ToI64, Scalar::Bool(value)) => Scalar::I64(i64::from(value)),
            // Beyond this range C++ does not define the result.
            (Self::ToI64, Scalar::F32(value)) => Scalar::I64((value.abs() < 9e18).then_some(value as i64)?),
            (Self::ToBool, Scalar::Bool(value)) => Scalar::Bool(value),
            (Self::ToBool, Scalar::I64(value)) => Scalar::Bool(value != 0),
            (Self::ToBool, Scalar::F32(value)) => Scalar::Bool(value != 0.0),
            _ => return None,
        })
    }
}
