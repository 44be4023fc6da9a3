#!/bin/bash
# The database's roles, made once with the database (deploy/README.md, Database roles): the owner migrates, each process has a
# login of its own, and what these may do is granted by every migrate.
set -euo pipefail
for role in owner app gateway shipper; do
    psql --username "$POSTGRES_USER" --dbname postgres --set ON_ERROR_STOP=1 --set role="moorage_$role" \
        --set password="$(cat "/run/secrets/$role")" <<< "CREATE ROLE :\"role\" LOGIN PASSWORD :'password';"
done
psql --username "$POSTGRES_USER" --dbname postgres --set ON_ERROR_STOP=1 <<< "CREATE DATABASE moorage OWNER moorage_owner ENCODING 'UTF8' TEMPLATE template0;"
