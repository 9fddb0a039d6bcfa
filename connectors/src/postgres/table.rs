//! The table: its columns, as the database has them, and whether records fit them.

use postgres::Client;
use serde::{Deserialize, Serialize};
use tidemill_engine::{ConnectorError, ErrorKind};

use super::error::failure;
use super::value::ColumnType;
use crate::fields::Field;
use crate::retry::Failure;

/// A column that records have a value for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Column {
    pub(super) name: String,
    pub(super) kind: ColumnType,
    pub(super) not_null: bool,
}

/// A column as the database has it.
#[derive(Debug)]
struct Found {
    name: String,
    type_name: String,
    modifier: i32,
    not_null: bool,
    /// Whether it gets a value if a row has none for it.
    has_default: bool,
    /// Whether the database computes its value.
    is_generated: bool,
}

impl Found {
    fn describe(&self) -> String {
        let kind = ColumnType::of(&self.type_name, self.modifier);
        let kind = kind.map_or_else(|| self.type_name.clone(), |kind| kind.to_string());
        let not_null = if self.not_null { " not null" } else { "" };
        format!("{} {kind}{not_null}", self.name)
    }
}

const COLUMNS: &str = "select a.attname::text, t.typname::text, a.atttypmod, a.attnotnull, \
    a.atthasdef or a.attidentity <> '', a.attgenerated <> '' or a.attidentity = 'a' \
    from pg_attribute a join pg_type t on t.oid = a.atttypid \
    where a.attrelid = to_regclass($1) and a.attnum > 0 and not a.attisdropped order by a.attnum";

/// What the table is, and what the user may do there: all that would be refused only when rows are written.
const MAY: &str = "select c.relkind in ('r', 'p'), current_setting('server_encoding'), row_security_active(c.oid), \
    has_table_privilege(c.oid, 'insert'), has_table_privilege(c.oid, 'select') and has_table_privilege(c.oid, 'update') \
    and has_database_privilege(current_database(), 'temp') from pg_class c where c.oid = to_regclass($1)::oid";

/// The columns of each unique index that an upsert can use.
const UNIQUE: &str = "select array(select a.attname::text from unnest(i.indkey::int2[]) with ordinality k(number, n) \
    join pg_attribute a on a.attrelid = i.indrelid and a.attnum = k.number where k.n <= i.indnkeyatts) \
    from pg_index i where i.indrelid = to_regclass($1) and i.indisunique and i.indisvalid and i.indimmediate \
    and i.indpred is null and i.indexprs is null";

/// Reads the columns of a table for records with these fields, in their order. `keys` are the columns that identify a
/// row, for an upsert.
pub(super) fn columns(
    client: &mut Client,
    table: &str,
    fields: &[Field],
    keys: &[String],
) -> Result<Vec<Column>, Failure> {
    let quoted = quoted_table(table);
    let what = format!("read the columns of table \"{table}\"");
    let rows = client.query(COLUMNS, &[&quoted]).map_err(|e| failure(&what, e))?;
    let found: Vec<Found> = rows
        .iter()
        .map(|row| Found {
            name: row.get(0),
            type_name: row.get(1),
            modifier: row.get(2),
            not_null: row.get(3),
            has_default: row.get(4),
            is_generated: row.get(5),
        })
        .collect();
    let columns = fit(table, &found, fields, keys).map_err(invalid)?;
    let may = client.query_one(MAY, &[&quoted]).map_err(|e| failure(&what, e))?;
    if !may.get::<_, bool>(0) {
        return Err(invalid(format!("\"{table}\" is no table but a view or the like, which COPY cannot write to")));
    }
    let encoding: String = may.get(1);
    if encoding != "UTF8" {
        return Err(invalid(format!(
            "the database of table \"{table}\" has the encoding {encoding}, which cannot store all texts: UTF8 is needed"
        )));
    }
    if may.get::<_, bool>(2) && keys.is_empty() {
        return Err(invalid(format!(
            "table \"{table}\" has policies of row security for the user, which COPY cannot obey"
        )));
    }
    let (may_insert, may_change): (bool, bool) = (may.get(3), may.get(4));
    if !may_insert || !(may_change || keys.is_empty()) {
        let needed = match keys.is_empty() {
            true => "INSERT on it",
            false => "INSERT, UPDATE and SELECT on it, and TEMPORARY on its database",
        };
        return Err(invalid(format!("the user may not write to table \"{table}\": it needs {needed}")));
    }
    if !keys.is_empty() {
        let indexes = client.query(UNIQUE, &[&quoted]).map_err(|e| failure(&what, e))?;
        let mut wanted = keys.to_vec();
        wanted.sort_unstable();
        let is_key = |index: &postgres::Row| {
            let mut of: Vec<String> = index.get(0);
            of.sort_unstable();
            of == wanted
        };
        if !indexes.iter().any(is_key) {
            let keys = keys.join(", ");
            return Err(invalid(format!(
                "table \"{table}\" has no primary key and no unique index of exactly the columns {keys}, by which rows are replaced"
            )));
        }
    }
    Ok(columns)
}

fn invalid(message: String) -> Failure {
    Failure::Fatal(ConnectorError::new(ErrorKind::Invalid, message))
}

/// Returns the columns of the fields, or all that does not fit, with both sides. No I/O.
fn fit(table: &str, found: &[Found], fields: &[Field], keys: &[String]) -> Result<Vec<Column>, String> {
    if found.is_empty() {
        return Err(format!("there is no table \"{table}\""));
    }
    let mut faults = Vec::new();
    let mut columns = Vec::new();
    for Field { name, kind } in fields {
        let Some(column) = found.iter().find(|column| column.name == *name) else {
            faults.push(format!("field \"{name}\" has no column"));
            continue;
        };
        if column.is_generated {
            faults.push(format!("the database computes column \"{name}\" by itself"));
            continue;
        }
        match (ColumnType::of(&column.type_name, column.modifier), kind) {
            (None, _) => {
                faults.push(format!("column \"{name}\" is of type {}, which is not supported", column.type_name))
            }
            (Some(of), Some(kind)) if !of.takes(*kind) => {
                faults.push(format!("column \"{name}\" is of type {of}, and the field of type {kind}"));
            }
            (Some(kind), _) => {
                // Null equals nothing: a row whose key has it would never be replaced.
                let not_null = column.not_null || keys.contains(&column.name);
                columns.push(Column { name: column.name.clone(), kind, not_null });
            }
        }
    }
    let is_field = |name: &str| fields.iter().any(|field| field.name == name);
    for column in found.iter().filter(|column| column.not_null && !column.has_default && !column.is_generated) {
        if !is_field(&column.name) {
            faults.push(format!("column \"{}\" must not be null, and no field has its name", column.name));
        }
    }
    for key in keys {
        match columns.iter().find(|column| column.name == *key) {
            Some(column) if !column.kind.can_be_key() => {
                faults.push(format!("column \"{key}\" is of type {}, which cannot be a key", column.kind));
            }
            Some(_) => {}
            None => faults.push(format!("the key \"{key}\" is not among the columns that are written")),
        }
    }
    if faults.is_empty() {
        return Ok(columns);
    }
    let of_record = fields.iter().map(|Field { name, kind }| match kind {
        Some(kind) => format!("{name} {kind}"),
        None => (*name).to_owned(),
    });
    Err(format!(
        "records do not fit table \"{table}\": {}; the record has: {}; the table has: {}",
        faults.join("; "),
        of_record.collect::<Vec<_>>().join(", "),
        found.iter().map(Found::describe).collect::<Vec<_>>().join(", ")
    ))
}

/// Returns an identifier as SQL reads it, whatever it contains.
pub(super) fn quoted(identifier: &str) -> String {
    format!("\"{}\"", identifier.replace('"', "\"\""))
}

/// Returns the name of a table, which may have that of its schema before it.
pub(super) fn quoted_table(table: &str) -> String {
    table.split('.').map(quoted).collect::<Vec<_>>().join(".")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fields::Kind;

    fn found(name: &str, type_name: &str) -> Found {
        let (name, type_name) = (name.to_owned(), type_name.to_owned());
        Found { name, type_name, modifier: -1, not_null: true, has_default: false, is_generated: false }
    }

    #[test]
    fn all_that_does_not_fit_is_said_at_once_with_both_sides() {
        let table = [
            found("sensor", "text"),
            found("celsius", "int4"),
            found("place", "point"),
            Found { has_default: true, ..found("id", "int8") },
            found("at", "timestamptz"),
            Found { is_generated: true, ..found("sum", "int8") },
        ];
        let field = |name, kind| Field { name, kind: Some(kind) };
        let fields = [
            field("sensor", Kind::Text),
            field("celsius", Kind::Float),
            Field { name: "place", kind: None },
            field("sum", Kind::Integer),
            field("humidity", Kind::Float),
        ];
        let error = fit("readings", &table, &fields, &["humidity".to_owned()]).unwrap_err();
        assert_eq!(
            error,
            "records do not fit table \"readings\": column \"celsius\" is of type int4, and the field of type float; \
             column \"place\" is of type point, which is not supported; the database computes column \"sum\" by itself; \
             field \"humidity\" has no column; column \"at\" must not be null, and no field has its name; the key \"humidity\" \
             is not among the columns that are written; the record has: sensor text, celsius float, place, sum integer, \
             humidity float; the table has: sensor text not null, celsius int4 not null, place point not null, id int8 not \
             null, at timestamptz not null, sum int8 not null"
        );
        let columns = fit("readings", &table[..1], &fields[..1], &["sensor".to_owned()]).unwrap();
        assert_eq!(columns, [Column { name: "sensor".to_owned(), kind: ColumnType::Text(None), not_null: true }]);
        assert_eq!(quoted_table("public.a\"b"), "\"public\".\"a\"\"b\"");
    }
}
