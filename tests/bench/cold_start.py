"""The first call of a Python program to AWS, and what CPU time it took from exec to the answer, in milliseconds."""

import resource

import boto3

boto3.client("rds").describe_db_instances()
usage = resource.getrusage(resource.RUSAGE_SELF)
print((usage.ru_utime + usage.ru_stime) * 1000)
