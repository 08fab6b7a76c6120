"""Archives audit log files the way scripts do it today, one after the other.

Usage: baseline.py LIST BUCKET [TABLE]

LIST has one line per file: instance, name and key, between tabs. Per file: HeadObject, and skip what is there; download the
whole file into memory; compress it with gzip's default level; PutObject. With TABLE, a record of each file is put there, too.
Region, credentials and endpoints come from the environment, as for every AWS SDK.

It is written with care: one session, clients and connections that are kept, no copies that are not needed.
"""

import gzip
import io
import os
import sys
import time
from urllib.parse import quote

import boto3
import urllib3
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.exceptions import ClientError

# Lambda and ECS set this one, which boto3 alone does not read.
session = boto3.Session(region_name=os.environ["AWS_REGION"])
s3 = session.client("s3")
rds = os.environ["AWS_ENDPOINT_URL_RDS"]
# No SDK has downloadCompleteLogFile: it is signed by hand.
signer = SigV4Auth(session.get_credentials(), "rds", session.region_name)
http = urllib3.PoolManager()


def archived(bucket, key):
    try:
        s3.head_object(Bucket=bucket, Key=key)
    except ClientError as error:
        if error.response["ResponseMetadata"]["HTTPStatusCode"] == 404:
            return False
        raise
    return True


def download(instance, name):
    url = f"{rds}/v13/downloadCompleteLogFile/{instance}/{quote(name)}"
    request = AWSRequest(method="GET", url=url)
    signer.add_auth(request)
    answer = http.request("GET", url, headers=dict(request.headers))
    if answer.status != 200:
        raise RuntimeError(f"{url}: HTTP status {answer.status}")
    return answer.data


def compressed(content):
    out = io.BytesIO()
    with gzip.GzipFile(fileobj=out, mode="wb") as file:
        file.write(content)
    return out.getvalue()


def main(files, bucket, table=None):
    dynamodb = session.client("dynamodb") if table else None
    with open(files, encoding="utf-8") as lines:
        for line in lines:
            instance, name, key = line.rstrip("\n").split("\t")
            if archived(bucket, key):
                continue
            content = download(instance, name)
            body = compressed(content)
            s3.put_object(Bucket=bucket, Key=key, Body=body)
            if dynamodb:
                item = {
                    "pk": {"S": f"{instance}/{name}"},
                    "sk": {"S": "archived"},
                    "key": {"S": key},
                    "size": {"N": str(len(content))},
                    "stored": {"N": str(len(body))},
                    "at": {"N": str(int(time.time()))},
                }
                dynamodb.put_item(TableName=table, Item=item)


if __name__ == "__main__":
    main(*sys.argv[1:])
