"""What stands in deploy/: it starts what `./manage.py up` starts, with no more power than each process needs."""
