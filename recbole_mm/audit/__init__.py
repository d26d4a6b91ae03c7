"""``recbole-mm audit``: is a data set sound?"""
