{{ risk_snapshots('category', 'category_risk', ['1d', '7d', '14d', '30d']) }}
