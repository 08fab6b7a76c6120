-- What has one user said within two hours?
--
-- In the order of the log: Aurora MySQL spreads it over several files. `object` is the statement as it was logged.
-- Of an instance of RDS for MySQL or MariaDB, ask the view server_audit; its cluster is its own name.
SELECT
  logged_at,
  instance,
  host,
  connection_id,
  query_id,
  db,
  statement,
  retcode
FROM aurora
WHERE cluster = 'my-rds-cluster'
  -- Aurora MySQL: files are in the hour that they begin in, and may go on for more than a day. The others: in the hour that
  -- they end in; an instance with little to log may take longer than two days to fill one.
  AND datehour BETWEEN '2024/09/29/12' AND '2024/10/03/14'
  AND logged_at >= timestamp '2024-10-01 12:00:00'
  AND logged_at < timestamp '2024-10-01 14:00:00'
  AND username = 'shop_app'
  AND operation = 'QUERY'
ORDER BY logged_at, stamp, connection_id, query_id
