//! What a server says of its model, held against what the program gives and wants.

use crate::infer::{ElementType, ModelError, TensorSpec};

/// An input or output as a server describes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Described {
    pub(super) name: String,
    /// The type as the server calls it: `FP32`, `DT_FLOAT`.
    pub(super) datatype: String,
    /// The same; none when the program cannot have it.
    pub(super) element: Option<ElementType>,
    /// All dimensions, the batch's first; below 0: any. None: any number of them.
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
    /// Whether rows of `spec` are rows of this.
    fn fits(&self, spec: &TensorSpec) -> bool {
        let Some(shape) = &self.shape else { return self.element == Some(spec.element) };
        let Some((batch, row)) = shape.split_first() else { return false };
        let sizes = row.iter().zip(&spec.shape);
        self.element == Some(spec.element)
            && *batch < 0
            && row.len() == spec.shape.len()
            && sizes.into_iter().all(|(found, given)| *found < 0 || given.is_none_or(|given| given as i64 == *found))
    }

    fn named(all: &[Self], name: &str) -> Option<Self> {
        all.iter().find(|described| described.name == name).cloned()
    }
}

pub(super) fn listed<T: ToString>(all: &[T]) -> String {
    all.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

/// The error with both sides, when the program does not fit the model.
pub(super) fn check(
    model: &str,
    found: &Description,
    inputs: &[TensorSpec],
    outputs: &[TensorSpec],
) -> Result<(), ModelError> {
    let fits = |spec: &TensorSpec| Described::named(&found.inputs, &spec.name).is_some_and(|input| input.fits(spec));
    let all_given = found.inputs.iter().all(|input| inputs.iter().any(|spec| spec.name == input.name));
    if !all_given || !inputs.iter().all(fits) {
        return Err(ModelError::Schema {
            model: model.to_owned(),
            found: listed(&found.inputs),
            program: listed(inputs),
        });
    }
    let fits =
        |spec: &&TensorSpec| !Described::named(&found.outputs, &spec.name).is_some_and(|output| output.fits(spec));
    match outputs.iter().find(fits) {
        None => Ok(()),
        Some(wanted) => Err(ModelError::Output {
            model: model.to_owned(),
            wanted: wanted.to_string(),
            found: listed(&found.outputs),
        }),
    }
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
        let of = |result: Result<(), ModelError>| result.unwrap_err().to_string();

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
    fn a_model_that_takes_one_batch_size_only_does_not_fit() {
        let found = Description { inputs: vec![described("x", Some(vec![8, 3]))], ..Description::default() };
        assert!(check("m", &found, &[TensorSpec::fixed("x", ElementType::F32, [3])], &[]).is_err());
    }
}
