//! The comparison of a server's description of its model with the program's inputs and outputs.

use crate::infer::export::export_any_rows;
use crate::infer::{ElementType, Elements, ModelError, TensorSpec};

/// An input or output as a server describes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Described {
    pub(super) name: String,
    /// The server's name of the type: `FP32`, `DT_FLOAT`.
    pub(super) datatype: String,
    /// The element type; none when the program does not support it.
    pub(super) element: Option<ElementType>,
    /// All dimensions, starting with the batch; a negative one is of variable size. None: any number of dimensions.
    pub(super) shape: Option<Vec<i64>>,
}

/// A model as a server describes it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Description {
    pub(super) versions: Vec<String>,
    pub(super) inputs: Vec<Described>,
    pub(super) outputs: Vec<Described>,
}

impl std::fmt::Display for Described {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let ty = self.element.map_or_else(|| self.datatype.clone(), |element| element.to_string());
        let sizes = self.shape.iter().flatten().enumerate().map(|(axis, size)| match size {
            0.. => size.to_string(),
            _ if axis == 0 => "n".to_owned(),
            _ => "?".to_owned(),
        });
        let sizes = sizes.collect::<Vec<_>>().join(", ");
        let sizes = if self.shape.is_some() { sizes } else { "…".to_owned() };
        write!(f, "\"{}\" {ty} [{sizes}]", self.name)
    }
}

impl Described {
    /// Returns whether the input takes rows of `spec`.
    fn takes(&self, spec: &TensorSpec) -> bool {
        self.element == Some(spec.element) && self.has_rows_of(spec)
    }

    /// Returns whether the output provides rows of `spec`, whose type must represent all values of this output's type.
    fn gives(&self, spec: &TensorSpec) -> bool {
        let widened = self.element.and_then(|element| Elements::new(element).widened(spec.element));
        widened.is_some() && self.has_rows_of(spec)
    }

    fn has_rows_of(&self, spec: &TensorSpec) -> bool {
        let Some(shape) = &self.shape else { return true };
        let Some((_, row)) = shape.split_first() else { return false };
        let sizes = row.iter().zip(&spec.shape);
        row.len() == spec.shape.len()
            && sizes.into_iter().all(|(found, given)| *found < 0 || given.is_none_or(|given| given as i64 == *found))
    }

    /// Returns the number of rows, if it is fixed.
    fn rows(&self) -> Option<i64> {
        self.shape.as_ref()?.first().copied().filter(|rows| *rows >= 0)
    }

    fn named(all: &[Self], name: &str) -> Option<Self> {
        all.iter().find(|described| described.name == name).cloned()
    }
}

pub(super) fn listed<T: ToString>(all: &[T]) -> String {
    all.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

/// Returns the number of rows that every run must have, if the model declares one. Fails when the program does not fit
/// the model; the error shows both sides.
pub(super) fn check(
    model: &str,
    found: &Description,
    inputs: &[TensorSpec],
    outputs: &[TensorSpec],
) -> Result<Option<usize>, ModelError> {
    let fits = |spec: &TensorSpec| Described::named(&found.inputs, &spec.name).is_some_and(|input| input.takes(spec));
    let all_given = found.inputs.iter().all(|input| inputs.iter().any(|spec| spec.name == input.name));
    if !all_given || !inputs.iter().all(fits) {
        return Err(ModelError::Schema {
            model: model.to_owned(),
            found: listed(&found.inputs),
            program: listed(inputs),
        });
    }
    let fits =
        |spec: &&TensorSpec| !Described::named(&found.outputs, &spec.name).is_some_and(|output| output.gives(spec));
    if let Some(wanted) = outputs.iter().find(fits) {
        let (model, wanted) = (model.to_owned(), wanted.to_string());
        return Err(ModelError::Output { model, wanted, found: listed(&found.outputs) });
    }
    let rows = found.inputs.first().and_then(Described::rows);
    if found.inputs.iter().all(|input| input.rows() == rows) && rows != Some(0) {
        return Ok(rows.and_then(|rows| usize::try_from(rows).ok()));
    }
    let reason = format!(
        "its inputs are {}: their first dimensions, the rows of a batch, are not the same. {}",
        listed(&found.inputs),
        export_any_rows(found.inputs.first().map_or("input", |input| &input.name))
    );
    Err(ModelError::Unusable { model: model.to_owned(), reason })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn described(name: &str, shape: Option<Vec<i64>>) -> Described {
        Described { name: name.to_owned(), datatype: "FP32".to_owned(), element: Some(ElementType::F32), shape }
    }

    #[test]
    fn names_types_and_shapes_must_fit() {
        let found = Description {
            inputs: vec![described("x", Some(vec![-1, 3])), described("any", None)],
            outputs: vec![described("y", Some(vec![-1])), described("more", Some(vec![-1, -1]))],
            ..Description::default()
        };
        let f32s = |name: &str, shape: &[usize]| TensorSpec::fixed(name, ElementType::F32, shape.iter().copied());
        let (inputs, outputs) = ([f32s("x", &[3]), f32s("any", &[4, 4])], [f32s("y", &[]), f32s("more", &[2])]);
        assert!(check("m", &found, &inputs, &outputs).is_ok());
        let of = |result: Result<Option<usize>, ModelError>| result.unwrap_err().to_string();

        let error = of(check("m", &found, &inputs[..1], &outputs));
        assert!(error.contains("the model:   \"x\" f32 [n, 3], \"any\" f32 […]"), "{error}");
        assert!(error.contains("the program: \"x\" f32 [n, 3]"), "{error}");
        for wrong in [f32s("x", &[4]), f32s("x", &[]), f32s("z", &[3]), TensorSpec::fixed("x", ElementType::F64, [3])] {
            assert!(matches!(
                check("m", &found, &[wrong, inputs[1].clone()], &outputs),
                Err(ModelError::Schema { .. })
            ));
        }
        let error = of(check("m", &found, &inputs, &[f32s("y", &[2])]));
        assert!(error.contains("has no output \"y\" f32 [n, 2]: it has \"y\" f32 [n], \"more\" f32 [n, ?]"), "{error}");
    }

    #[test]
    fn a_model_of_a_fixed_number_of_rows_says_how_many() {
        let input = |rows: i64| described("x", Some(vec![rows, 3]));
        let spec = |name: &str| TensorSpec::fixed(name, ElementType::F32, [3]);
        let found = |inputs: Vec<Described>| Description { inputs, ..Description::default() };
        assert_eq!(check("m", &found(vec![input(8)]), &[spec("x")], &[]).unwrap(), Some(8));
        assert_eq!(check("m", &found(vec![input(-1)]), &[spec("x")], &[]).unwrap(), None);
        let other = Described { name: "y".to_owned(), ..input(-1) };
        let error = check("m", &found(vec![input(8), other]), &[spec("x"), spec("y")], &[]).unwrap_err().to_string();
        assert!(error.contains("\"x\" f32 [8, 3], \"y\" f32 [n, 3]") && error.contains("dynamic_axes"), "{error}");
    }

    #[test]
    fn small_types_are_taken_as_they_are_and_given_as_larger_ones() {
        let small = Described { element: Some(ElementType::U8), ..described("x", Some(vec![-1])) };
        let spec = |element| TensorSpec::fixed("x", element, []);
        assert!(small.takes(&spec(ElementType::U8)) && !small.takes(&spec(ElementType::I64)));
        assert!(small.gives(&spec(ElementType::U8)) && small.gives(&spec(ElementType::I64)));
        assert!(!small.gives(&spec(ElementType::F32)));
    }
}
