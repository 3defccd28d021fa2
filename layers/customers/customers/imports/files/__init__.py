"""Files of customers: from bytes to rows, from a row to a value, and from rejected rows to a report.

`reader` cuts a file into rows and `values` reads them. `csv`, `json` and `lines` each know one form, `blocks` alone
knows where the bytes come from. No module knows AWS. The arrows: reader → csv, json, lines → blocks → rows → columns,
and report, values → csv, json.
"""
