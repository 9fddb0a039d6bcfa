//! A panel: what it asks, and in which unit it shows the answer.

use serde_json::{Value as Json, json};

use crate::families::family_of;
use crate::promql;

/// What the numbers of a panel are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unit {
    Seconds,
    Bytes,
    BytesPerSecond,
    /// 0 to 1, shown in percent.
    Share,
    Count,
    RecordsPerSecond,
    PerSecond,
}

impl Unit {
    /// Returns Grafana's name of the unit.
    #[must_use]
    pub fn id(self) -> &'static str {
        match self {
            Self::Seconds => "s",
            Self::Bytes => "bytes",
            Self::BytesPerSecond => "binBps",
            Self::Share => "percentunit",
            Self::Count => "short",
            Self::RecordsPerSecond => "count:records/s",
            Self::PerSecond => "count:/s",
        }
    }
}

/// A query and the legend of its series.
#[derive(Clone, Debug)]
pub struct Query {
    pub expr: String,
    pub legend: &'static str,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Form {
    /// Lines over time.
    Lines,
    /// Areas on top of each other.
    Stack,
    /// The last value as a number, which is red from a limit on.
    Number { red: Option<f64> },
    /// The series of now, one a line.
    Table,
}

#[derive(Clone, Debug)]
pub struct Panel {
    pub title: &'static str,
    pub note: &'static str,
    pub unit: Unit,
    pub queries: Vec<Query>,
    pub(super) width: u32,
    pub(super) height: u32,
    form: Form,
}

impl Panel {
    fn new(title: &'static str, unit: Unit, form: Form, [width, height]: [u32; 2]) -> Self {
        Self { title, note: "", unit, queries: Vec::new(), width, height, form }
    }

    /// Lines over time, half as wide as the dashboard.
    pub(super) fn lines(title: &'static str, unit: Unit) -> Self {
        Self::new(title, unit, Form::Lines, [12, 8])
    }

    /// Areas on top of each other: their sum has a meaning.
    pub(super) fn stack(title: &'static str, unit: Unit) -> Self {
        Self::new(title, unit, Form::Stack, [12, 8])
    }

    /// A number, which is red from this limit on.
    pub(super) fn number(title: &'static str, unit: Unit, red: Option<f64>) -> Self {
        Self::new(title, unit, Form::Number { red }, [4, 4])
    }

    pub(super) fn table(title: &'static str) -> Self {
        Self::new(title, Unit::Count, Form::Table, [24, 6])
    }

    /// Adds a query. `$S` in it stands for the labels that choose the processes.
    pub(super) fn query(mut self, expr: &str, legend: &'static str) -> Self {
        let expr = expr.replace("$S", "instance=~\"$instance\"");
        self.queries.push(Query { expr, legend });
        self
    }

    pub(super) fn note(mut self, note: &'static str) -> Self {
        self.note = note;
        self
    }

    /// The note, and what the engine says of each metric.
    fn description(&self) -> String {
        let names = self.queries.iter().flat_map(|query| promql::metrics(&query.expr));
        let mut lines: Vec<String> = Vec::new();
        for family in names.filter_map(|name| family_of(&name)) {
            let line = format!("`{}`: {}", family.name, family.help);
            if !lines.contains(&line) {
                lines.push(line);
            }
        }
        if !self.note.is_empty() {
            lines.insert(0, self.note.to_owned());
        }
        lines.join("\n\n")
    }

    pub(super) fn json(&self, id: usize, place: &Json) -> Json {
        let is_table = self.form == Form::Table;
        let targets = self.queries.iter().zip('A'..).map(|(query, id)| {
            json!({
                "datasource": data_source(), "editorMode": "code", "expr": query.expr,
                "format": if is_table { "table" } else { "time_series" },
                "instant": is_table, "legendFormat": query.legend, "range": !is_table, "refId": id.to_string(),
            })
        });
        let mut panel = json!({
            "datasource": data_source(), "description": self.description(), "gridPos": place, "id": id,
            "targets": targets.collect::<Vec<_>>(), "title": self.title,
        });
        let (kind, config, options) = match self.form {
            Form::Lines | Form::Stack => ("timeseries", self.lines_config(), lines_options()),
            Form::Number { red } => ("stat", self.number_config(red), number_options()),
            Form::Table => {
                ("table", json!({"custom": {"align": "auto"}, "unit": self.unit.id()}), json!({"showHeader": true}))
            }
        };
        panel["type"] = kind.into();
        panel["fieldConfig"] = json!({"defaults": config, "overrides": []});
        panel["options"] = options;
        if is_table {
            let hidden = json!({"Time": true, "Value": true, "__name__": true, "alertstate": true});
            panel["transformations"] = json!([{"id": "organize", "options": {"excludeByName": hidden}}]);
        }
        panel
    }

    fn lines_config(&self) -> Json {
        let stacked = self.form == Form::Stack;
        json!({
            "color": {"mode": "palette-classic"},
            "custom": {
                "drawStyle": "line", "fillOpacity": if stacked { 30 } else { 5 }, "lineWidth": 1, "showPoints": "never",
                "spanNulls": false, "stacking": {"group": "A", "mode": if stacked { "normal" } else { "none" }},
            },
            "unit": self.unit.id(),
        })
    }

    fn number_config(&self, red: Option<f64>) -> Json {
        let mut steps = vec![json!({"color": "green", "value": null})];
        steps.extend(red.map(|from| json!({"color": "red", "value": from})));
        json!({
            "color": {"mode": "thresholds"}, "thresholds": {"mode": "absolute", "steps": steps}, "unit": self.unit.id(),
        })
    }
}

fn lines_options() -> Json {
    json!({
        "legend": {"calcs": ["lastNotNull", "max"], "displayMode": "table", "placement": "bottom", "showLegend": true},
        "tooltip": {"mode": "multi", "sort": "desc"},
    })
}

fn number_options() -> Json {
    json!({
        "colorMode": "value", "graphMode": "area", "justifyMode": "auto", "orientation": "auto",
        "reduceOptions": {"calcs": ["lastNotNull"], "fields": "", "values": false}, "textMode": "auto",
    })
}

/// The data source is chosen in the dashboard, so that a file that is provisioned works as it is.
pub(super) fn data_source() -> Json {
    json!({"type": "prometheus", "uid": "${datasource}"})
}
