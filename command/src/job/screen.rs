//! `tidemill job top` on a terminal: a table that is drawn anew at each look. `q` ends it, `s` changes the order.

use std::io;
use std::time::Instant;

use ratatui::DefaultTerminal;
use ratatui::crossterm::event::{self, Event, KeyCode, KeyModifiers};
use ratatui::layout::{Constraint, Layout};
use ratatui::style::{Modifier, Style};
use ratatui::text::Line;
use ratatui::widgets::{Paragraph, Row, Table};
use tidemill_state::ErrorKind;

use super::client::Client;
use super::gathered::Gathered;
use super::operators::{HEAD, headline, rows};
use crate::args::job::{Sort, Top};
use crate::failure::Failure;

/// The orders, as `s` goes through them.
const ORDERS: [Sort; 4] = [Sort::Graph, Sort::Busy, Sort::In, Sort::State];

pub fn run(client: &Client, asked: &Top) -> Result<String, Failure> {
    // What cannot be asked at all is said as any other error is.
    let first = Gathered::read(client)?;
    let mut terminal = ratatui::try_init().map_err(|error| broken(&error))?;
    let ended = show(&mut terminal, client, asked, first);
    ratatui::restore();
    ended.map(|()| String::new())
}

fn show(terminal: &mut DefaultTerminal, client: &Client, asked: &Top, first: Gathered) -> Result<(), Failure> {
    let (mut seen, mut sort, mut looks) = (Some(first), asked.sort, 1);
    // A job that is gone stays on the screen, as it was, with the reason below.
    let mut gone = None;
    loop {
        if let Some(seen) = &seen {
            draw(terminal, seen, sort, gone.as_ref()).map_err(|error| broken(&error))?;
        }
        if asked.count.is_some_and(|count| looks >= count.get()) {
            return Ok(());
        }
        match wait(asked).map_err(|error| broken(&error))? {
            Key::Quit => return gone.map_or(Ok(()), Err),
            Key::Order => {
                let at = ORDERS.iter().position(|order| *order == sort).unwrap_or_default();
                sort = ORDERS.into_iter().cycle().nth(at + 1).unwrap_or(sort);
            }
            Key::None => {
                looks += 1;
                match Gathered::read(client) {
                    Ok(now) => (seen, gone) = (Some(now), None),
                    Err(failure) if failure.kind == ErrorKind::Unavailable => gone = Some(failure),
                    Err(failure) => return Err(failure),
                }
            }
        }
    }
}

enum Key {
    Quit,
    Order,
    None,
}

/// Waits for a key, or until it is time for the next look.
fn wait(asked: &Top) -> io::Result<Key> {
    let until = Instant::now() + asked.interval;
    while event::poll(until.saturating_duration_since(Instant::now()))? {
        if let Event::Key(key) = event::read()? {
            match key.code {
                KeyCode::Char('q') | KeyCode::Esc => return Ok(Key::Quit),
                KeyCode::Char('c') if key.modifiers.contains(KeyModifiers::CONTROL) => return Ok(Key::Quit),
                KeyCode::Char('s') => return Ok(Key::Order),
                _ => {}
            }
        }
    }
    Ok(Key::None)
}

fn draw(terminal: &mut DefaultTerminal, seen: &Gathered, sort: Sort, gone: Option<&Failure>) -> io::Result<()> {
    let bold = Style::new().add_modifier(Modifier::BOLD);
    let rows = rows(&seen.operators, sort);
    let width = |column: usize| {
        let cells = rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count());
        let widest = cells.chain(HEAD.get(column).map(|cell| cell.len())).max().unwrap_or_default();
        Constraint::Length(u16::try_from(widest).unwrap_or(u16::MAX))
    };
    let widths: Vec<Constraint> = (0..HEAD.len()).map(width).collect();
    let mut below: Vec<Line<'_>> = seen.silent().into_iter().map(Line::from).collect();
    // What to type next is said at the end.
    let why = |failure: &Failure| failure.text.split(';').next().unwrap_or_default().to_owned();
    below.extend(gone.map(|failure| Line::styled(format!("what is above is old: {}", why(failure)), bold)));
    below.push(Line::from("q quits, s sorts by another column"));
    terminal.draw(|frame| {
        let height = u16::try_from(below.len()).unwrap_or(u16::MAX);
        let parts = [Constraint::Length(2), Constraint::Min(1), Constraint::Length(height)];
        let [top, middle, bottom] = Layout::vertical(parts).areas(frame.area());
        let head = Row::new(HEAD).style(bold);
        frame.render_widget(Paragraph::new(headline(&seen.job)), top);
        frame.render_widget(Table::new(rows.into_iter().map(Row::new), widths).header(head).column_spacing(2), middle);
        frame.render_widget(Paragraph::new(below), bottom);
    })?;
    Ok(())
}

fn broken(error: &io::Error) -> Failure {
    Failure::new(
        ErrorKind::Unavailable,
        format!("cannot draw on this terminal: {error}; write plain tables, with | cat"),
    )
}
