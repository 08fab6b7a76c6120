-- Who could not log in in the last week, from where, how often and why?
--
-- 1045 is a wrong password or an unknown user, 1044 a database that the user may not use, 1040 too many connections.
-- Of an instance of RDS for MySQL or MariaDB, ask the view server_audit; its cluster is its own name.
SELECT
  username,
  host,
  retcode,
  count(*) AS failures,
  min(logged_at) AS first_seen,
  max(logged_at) AS last_seen
FROM aurora
WHERE cluster = 'my-rds-cluster'
  -- Files are in the hour that they begin in, and may go on for more than a day.
  AND datehour >= date_format(localtimestamp - interval '9' day, '%Y/%m/%d/%H')
  AND logged_at >= localtimestamp - interval '7' day
  AND operation LIKE '%CONNECT'
  AND operation <> 'DISCONNECT'
  AND retcode <> 0
GROUP BY username, host, retcode
ORDER BY failures DESC, username, host, retcode
