//! `tidemill job top`: a table on a terminal, plain tables or JSON elsewhere.

use std::io::{IsTerminal, stdout};
use std::process::ExitCode;

use serde_json::{Value, json};

use super::client::Client;
use super::gathered::Gathered;
use super::operators::{HEAD, headline, rows};
use super::screen;
use super::wait::pause;
use crate::args::job::Top;
use crate::failure::Failure;
use crate::report::{self, table};

pub fn run(asked: &Top) -> Result<String, Failure> {
    let client = Client::of(&asked.at)?;
    if stdout().is_terminal() && !asked.jsonl {
        return screen::run(&client, asked);
    }
    let mut looks = 0;
    loop {
        let gathered = Gathered::read(&client)?;
        let text = if asked.jsonl { document(&gathered) } else { plain(&gathered, asked) };
        looks += 1;
        let is_last = asked.count.is_some_and(|count| looks >= count.get());
        // Nobody reads any more.
        if report::print(&text) != ExitCode::SUCCESS || is_last {
            return Ok(String::new());
        }
        pause(asked.interval);
    }
}

fn document(of: &Gathered) -> String {
    let document: Value = json!({ "job": of.job, "operators": of.operators, "processes": of.processes });
    format!("{document}\n")
}

fn plain(of: &Gathered, asked: &Top) -> String {
    let silent: String = of.silent().into_iter().map(|words| words + "\n").collect();
    format!("{}\n{silent}{}\n", headline(&of.job), table(&HEAD, &rows(&of.operators, asked.sort)))
}
