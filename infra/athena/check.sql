-- Which lines could not be read? No row: all of them were.
--
-- no record: the line does not have the fields of one; it is in `unreadable`. The log of another engine, or of another plugin,
--   is nothing but such lines. The last line of a file that still grows may be cut, until the file is archived again.
-- no time: it has the shape of one, but there is no such time.
-- no statement: a statement that is not in quotes, perhaps since the database has a comma in its name.
-- quote within: two records on one line, perhaps.
-- no return code: cut before it.
-- Of an instance of RDS for MySQL or MariaDB, ask the view server_audit; its cluster is its own name.
SELECT
  flaw,
  instance,
  file,
  count(*) AS lines,
  min(substr(coalesce(unreadable, object), 1, 200)) AS example
FROM aurora
WHERE cluster = 'my-rds-cluster'
  AND datehour >= '2024/10/01/00'
  AND flaw IS NOT NULL
GROUP BY flaw, instance, file
ORDER BY flaw, instance, file
