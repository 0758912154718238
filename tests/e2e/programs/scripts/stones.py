KINDS = {"pebble": 3, "stone": 500, "boulder": 90000}
