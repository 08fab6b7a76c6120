-- Who has changed tables, users or rights in the last week, and how?
--
-- By the first word of the statement, behind comments; MySQL executes what stands in /*! .. */. A changed table may also have
-- a record of its own, without the statement. What a stored procedure does is not logged as a statement.
-- Of an instance of RDS for MySQL or MariaDB, ask the view server_audit; its cluster is its own name.
SELECT
  logged_at,
  instance,
  username,
  host,
  db,
  operation,
  coalesce(statement, object) AS what,
  retcode
FROM aurora
WHERE cluster = 'my-rds-cluster'
  -- Files are in the hour that they begin in, and may go on for more than a day.
  AND datehour >= date_format(localtimestamp - interval '9' day, '%Y/%m/%d/%H')
  AND logged_at >= localtimestamp - interval '7' day
  AND (
    operation IN ('ALTER', 'CREATE', 'DROP', 'RENAME')
    OR regexp_like(
      statement,
      '(?is)^(\s|/\*!\d*|/\*.*?\*/|(--|#)[^\n]*\n)*(alter|create|drop|grant|rename|revoke|set\s+password|truncate)\b'
    )
  )
ORDER BY logged_at, stamp, query_id, operation
