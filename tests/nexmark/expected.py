"""What the Nexmark queries give, by SQLite: reads events.jsonl in a folder, writes q0.jsonl, q1.jsonl, … beside it."""

import json
import pathlib
import sqlite3
import sys

# Auctions that are over, with their highest bid.
CLOSED = """
    SELECT a.id, a.category, a.seller, a.expires, MAX(b.price) AS price
    FROM Auction a JOIN Bid b ON b.auction = a.id
    WHERE b.date_time BETWEEN a.date_time AND a.expires
    GROUP BY a.id
"""

QUERIES = {
    "q0": "SELECT * FROM Bid",
    "q1": "SELECT auction, bidder, 0.908 * price AS price, date_time, extra FROM Bid",
    "q2": "SELECT auction, price FROM Bid WHERE auction % 123 = 0",
    "q3": """
        SELECT p.name, p.city, p.state, a.id FROM Auction a JOIN Person p ON a.seller = p.id
        WHERE a.category = 10 AND p.state IN ('or', 'id', 'ca')
    """,
    "q4": f"""
        SELECT category, id AS auction, expires, CAST(SUM(price) OVER past AS REAL) / COUNT(*) OVER past AS average
        FROM ({CLOSED})
        WINDOW past AS (PARTITION BY category ORDER BY expires, id ROWS UNBOUNDED PRECEDING)
    """,
    # The window that begins last, and the four before it.
    "q5": """
        WITH slides AS (SELECT value * 2000 AS back FROM json_each('[0, 1, 2, 3, 4]')),
        counts AS (
            SELECT auction, COUNT(*) AS num, date_time / 2000 * 2000 - back AS starttime
            FROM Bid JOIN slides GROUP BY auction, starttime
        ),
        most AS (SELECT starttime, MAX(num) AS num FROM counts GROUP BY starttime)
        SELECT auction, num, starttime, starttime + 10000 AS endtime FROM counts JOIN most USING (starttime, num)
    """,
    "q6": f"""
        SELECT seller, id AS auction, expires, CAST(SUM(price) OVER last AS REAL) / COUNT(*) OVER last AS average
        FROM ({CLOSED})
        WINDOW last AS (PARTITION BY seller ORDER BY expires, id ROWS BETWEEN 9 PRECEDING AND CURRENT ROW)
    """,
    "q7": """
        WITH most AS (SELECT date_time / 10000 AS w, MAX(price) AS price FROM Bid GROUP BY w)
        SELECT b.auction, b.price, b.bidder, b.date_time, b.extra
        FROM Bid b JOIN most ON most.w = b.date_time / 10000 AND most.price = b.price
    """,
    "q8": """
        SELECT DISTINCT p.id, p.name, p.date_time / 10000 * 10000 AS starttime
        FROM Person p JOIN Auction a ON p.id = a.seller AND p.date_time / 10000 = a.date_time / 10000
    """,
    "q11": """
        WITH gaps AS (
            SELECT bidder, date_time, date_time - LAG(date_time) OVER (PARTITION BY bidder ORDER BY date_time) AS gap FROM Bid
        ),
        numbered AS (
            SELECT bidder, date_time,
                   SUM(gap >= 10000) OVER (PARTITION BY bidder ORDER BY date_time RANGE UNBOUNDED PRECEDING) AS session
            FROM gaps
        )
        SELECT bidder, COUNT(*) AS bid_count, MIN(date_time) AS starttime, MAX(date_time) + 10000 AS endtime
        FROM numbered GROUP BY bidder, IFNULL(session, 0)
    """,
    # Over all windows: which bids meet in one is up to the clock.
    "q12": "SELECT bidder, COUNT(*) AS bid_count FROM Bid GROUP BY bidder",
    "q13": "SELECT auction, bidder, price, date_time, 'value ' || (auction % 10000) AS value FROM Bid",
}


def main():
    folder = pathlib.Path(sys.argv[1])
    tables = {"Person": [], "Auction": [], "Bid": []}
    with open(folder / "events.jsonl") as lines:
        for line in lines:
            ((kind, event),) = json.loads(line).items()
            tables[kind].append(event)
    database = sqlite3.connect(":memory:")
    database.row_factory = sqlite3.Row
    for table, events in tables.items():
        columns = list(events[0])
        database.execute(f"CREATE TABLE {table} ({', '.join(columns)})")
        values = ", ".join(f":{column}" for column in columns)
        database.executemany(f"INSERT INTO {table} VALUES ({values})", events)
    database.execute("CREATE INDEX bids ON Bid (auction)")
    for name, query in QUERIES.items():
        with open(folder / f"{name}.jsonl", "w") as out:
            for row in database.execute(query):
                print(json.dumps(dict(row)), file=out)


main()
