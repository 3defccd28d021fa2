"""Files of customers: from bytes to rows, from a row to a value, and from rejected rows to a report.

`reader` cuts a file into rows, and `values` reads them. `csv`, `json` and `lines` each know one format. Only `blocks`
knows where the bytes come from. No module knows AWS. Imports point one way: reader → csv, json, lines → blocks → rows →
columns, and report, values → csv, json.
"""
