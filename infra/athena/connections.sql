-- Who has connected in the last week, from where and how often?
--
-- Of an instance of RDS for MySQL or MariaDB, ask the view server_audit; its cluster is its own name.
SELECT
  username,
  host,
  db,
  count(*) AS connections,
  min(logged_at) AS first_seen,
  max(logged_at) AS last_seen
FROM aurora
WHERE cluster = 'my-rds-cluster'
  -- Files are in the hour that they begin in, and may go on for more than a day.
  AND datehour >= date_format(localtimestamp - interval '9' day, '%Y/%m/%d/%H')
  AND logged_at >= localtimestamp - interval '7' day
  AND operation = 'CONNECT'
  AND retcode = 0
GROUP BY username, host, db
ORDER BY connections DESC, username, host, db
