"""Answers queries as Athena would, with DuckDB: reads a request from standard input, prints the answers, both as JSON.

The request is {"tables": [{"name", "columns", "regex", "objects": [{"file", "path", "cluster", "datehour"}]}], "views": [SQL..],
"queries": [SQL..]}; the answers are a list of rows for each query.

Views and queries are run as they are shipped. This is all that stands between Athena and DuckDB:
- A table is made here, as RegexSerDe and partition projection have it: of each line the groups of the regular expression.
  DuckDB has '' for a group that took no part, which is NULL in Java. The last group is for what the others do not match,
  and the first one is never empty.
- "$path" is a column like others, not a hidden one.
- Functions that DuckDB has under another name, or in part, are macros.
"""

import datetime
import json
import sys

import duckdb

MACROS = [
    # Trino's is with time zone, which the views then take away.
    "CREATE MACRO from_unixtime(seconds, zone) AS epoch_ms(CAST(round(seconds * 1000) AS bigint))",
    # The letters that are used here mean the same.
    "CREATE MACRO date_format(moment, letters) AS strftime(moment, letters)",
    "CREATE MACRO regexp_like(text, pattern) AS regexp_matches(text, pattern)",
]

# One column, as nothing separates; decompressed as the file's name ends.
LINES = """
    SELECT line, filename AS file
    FROM read_csv(
        $files, columns = {'line': 'VARCHAR'}, auto_detect = false, header = false, delim = '', quote = '', escape = '',
        force_not_null = ['line'], new_line = '\\n', max_line_size = 20000000, filename = true
    )
"""


def create(connection, table):
    first, *others, last = table["columns"]
    names = ", ".join(f"'{name}'" for name in table["columns"])
    fields = [f"CASE WHEN fields.{first} <> '' THEN fields.{name} END AS {name}" for name in (first, *others)]
    fields.append(f"CASE WHEN fields.{first} = '' THEN fields.{last} END AS {last}")
    connection.execute("CREATE OR REPLACE TABLE objects (file text, path text, cluster text, datehour text)")
    for it in table["objects"]:
        connection.execute(
            "INSERT INTO objects VALUES (?, ?, ?, ?)", [it["file"], it["path"], it["cluster"], it["datehour"]]
        )
    regex = table["regex"].replace("'", "''")
    connection.execute(
        f"""
        CREATE TABLE {table["name"]} AS
        SELECT {", ".join(fields)}, cluster, datehour, path AS "$path"
        FROM (SELECT file, regexp_extract(line, '{regex}', [{names}]) AS fields FROM ({LINES})) JOIN objects USING (file)
        """,
        {"files": [it["file"] for it in table["objects"]]},
    )


def plain(value):
    if isinstance(value, datetime.datetime):
        return value.isoformat(sep=" ", timespec="milliseconds")
    return value


request = json.load(sys.stdin)
connection = duckdb.connect()
for macro in MACROS:
    connection.execute(macro)
for table in request["tables"]:
    create(connection, table)
for view in request["views"]:
    connection.execute(view)
answers = []
for query in request["queries"]:
    result = connection.execute(query)
    names = [column[0] for column in result.description]
    answers.append([dict(zip(names, map(plain, row))) for row in result.fetchall()])
json.dump(answers, sys.stdout)
