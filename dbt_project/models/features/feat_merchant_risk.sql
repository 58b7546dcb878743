{{ risk_snapshots('merchant_id', 'merchant_risk', ['1d', '7d', '14d', '30d']) }}
