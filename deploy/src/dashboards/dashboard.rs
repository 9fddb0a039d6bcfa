//! A dashboard, and where its panels are.

use serde_json::{Value as Json, json};

use super::panel::{Panel, data_source};

/// The version of the form of dashboards: what Grafana 10.4 writes. Newer ones take it, and older ones from 9 on show
/// it.
const SCHEMA_VERSION: u32 = 39;
/// Columns of a dashboard.
const COLUMNS: u32 = 24;

/// A dashboard of one job.
pub struct Dashboard {
    /// The name of its file, and by which Grafana knows it.
    pub uid: &'static str,
    pub title: &'static str,
    pub description: &'static str,
    pub sections: Vec<Section>,
}

/// Panels below a heading.
pub struct Section {
    pub title: &'static str,
    pub panels: Vec<Panel>,
}

impl Dashboard {
    /// Returns the text of the dashboard's file.
    #[must_use]
    pub fn json(&self) -> String {
        format!("{:#}\n", self.value())
    }

    #[must_use]
    pub fn value(&self) -> Json {
        json!({
            "annotations": {"list": [built_in(), starts()]},
            "description": self.description,
            "editable": true,
            "fiscalYearStartMonth": 0,
            "graphTooltip": 1,
            "id": null,
            "links": [links()],
            "liveNow": false,
            "panels": self.panels(),
            "refresh": "30s",
            "schemaVersion": SCHEMA_VERSION,
            "tags": ["tidemill"],
            "templating": {"list": variables()},
            "time": {"from": "now-1h", "to": "now"},
            "timepicker": {},
            "timezone": "browser",
            "title": self.title,
            "uid": self.uid,
            "version": 1,
            "weekStart": "",
        })
    }

    /// Places the panels one after the other, in lines.
    fn panels(&self) -> Vec<Json> {
        let (mut placed, mut y) = (Vec::new(), 0);
        for section in &self.sections {
            let id = placed.len() + 1;
            placed.push(json!({
                "collapsed": false, "gridPos": {"h": 1, "w": COLUMNS, "x": 0, "y": y}, "id": id, "panels": [],
                "title": section.title, "type": "row",
            }));
            y += 1;
            let (mut x, mut height) = (0, 0);
            for panel in &section.panels {
                if x + panel.width > COLUMNS {
                    (x, y, height) = (0, y + height, 0);
                }
                let place = json!({"h": panel.height, "w": panel.width, "x": x, "y": y});
                placed.push(panel.json(placed.len() + 1, &place));
                x += panel.width;
                height = height.max(panel.height);
            }
            y += height;
        }
        placed
    }
}

fn variables() -> Vec<Json> {
    let query = |name: &str, label: &str, query: &str, all: bool| {
        let current = if all { json!({"selected": true, "text": ["All"], "value": ["$__all"]}) } else { json!({}) };
        json!({
            "current": current, "datasource": data_source(), "definition": query, "hide": 0, "includeAll": all,
            "label": label, "multi": all, "name": name, "options": [],
            "query": {"qryType": 1, "query": query, "refId": "PrometheusVariableQueryEditor-VariableQuery"},
            "refresh": 2, "regex": "", "skipUrlSync": false, "sort": 1, "type": "query",
        })
    };
    vec![
        json!({
            "current": {}, "hide": 0, "includeAll": false, "label": "Data source", "multi": false,
            "name": "datasource", "options": [], "query": "prometheus", "refresh": 1, "regex": "",
            "skipUrlSync": false, "type": "datasource",
        }),
        query("job_name", "Job", "label_values(tidemill_job_info, job_name)", false),
        query("instance", "Process", "label_values(tidemill_job_info{job_name=\"$job_name\"}, instance)", true),
    ]
}

fn links() -> Json {
    json!({
        "asDropdown": false, "icon": "external link", "includeVars": true, "keepTime": true, "tags": ["tidemill"],
        "targetBlank": false, "title": "", "tooltip": "", "type": "dashboards", "url": "",
    })
}

fn built_in() -> Json {
    json!({
        "builtIn": 1, "datasource": {"type": "grafana", "uid": "-- Grafana --"}, "enable": true, "hide": true,
        "iconColor": "rgba(0, 211, 255, 1)", "name": "Annotations & Alerts", "type": "dashboard",
    })
}

/// Marks when a process was started.
fn starts() -> Json {
    json!({
        "datasource": data_source(), "enable": true, "iconColor": "purple", "name": "Starts",
        "expr": "changes(process_start_time_seconds{instance=~\"$instance\"}[2m]) > 0",
        "titleFormat": "Started", "textFormat": "{{instance}}",
    })
}
