"""The demo contract that ``etlctl init`` writes: forty made-up orders, read, converted and filtered, offline."""

from __future__ import annotations

EXTRACT = """\
type: file
path: orders.csv                   # relative paths start at this folder
processing_mode: streaming         # batch by batch, in constant memory
"""

TRANSFORM = """\
transform:                         # runs in this order: rename, convert, defaults, add, drop, filter
  rename:
    customer: customer_name
  convert:                         # CSV values are text until you say otherwise; order_id keeps its zeros
    ordered_at: datetime
    quantity: integer
    unit_price: decimal
    gift: boolean
  defaults:
    coupon: none
  add:
    contact: "${customer_name} <${email}>"
    loaded_at: now()
  drop: [email]
  filter: {field: status, operator: ne, value: cancelled}
"""

LOAD = """\
type: file
path: out/orders.jsonl             # the extension says the format: try .parquet or .csv
write_method: replace
"""

CONTRACT = """\
name: demo
version: "1.0.0"
description: Orders of a small shop, cleaned, without the cancelled ones.
schema:                            # what a loaded record must look like; others go to the dead letters
  fields:
    order_id: {type: string, required: true, unique: true, pattern: "^[0-9]{6}$"}
    ordered_at: {type: datetime, required: true}
    quantity: {type: integer, required: true, minimum: 1}
    unit_price: {type: decimal, required: true, minimum: 0}
    status: {type: string, enum: [paid, shipped]}
"""

CASES = """\
# What must come of which records: etlctl test. Write a case for every rule you would not like to lose;
# etlctl test --update fills in expect: and rejected:, and you read whether they are right.
- name: a gift without a coupon is kept, with its types
  given:
    - order_id: "000122"
      ordered_at: "2026-03-02T15:55:00Z"
      customer: Grace Abara
      email: grace@example.net
      country: NG
      product: Desk lamp, brass
      quantity: "1"
      unit_price: "39.90"
      gift: "yes"
      coupon: null
      status: shipped
  now: "2026-03-03T06:00:00Z"
  expect:
    - order_id: "000122"
      ordered_at: "2026-03-02T15:55:00Z"
      customer_name: Grace Abara
      country: NG
      product: Desk lamp, brass
      quantity: 1
      unit_price: "39.90"
      gift: true
      coupon: none
      status: shipped
      contact: "Grace Abara <grace@example.net>"
      loaded_at: "2026-03-03T06:00:00Z"

- name: cancelled orders are left out, half an order is rejected
  given:
    - {order_id: "000101", ordered_at: "2026-03-01T08:21:00Z", quantity: "6", unit_price: "4.25", status: cancelled}
    - {order_id: "000102", ordered_at: "2026-03-01T08:21:00Z", quantity: "0.5", unit_price: "4.25", status: paid}
  expect: []
  filtered: 1
  rejected:
    - {rule: convert.integer, index: 1, field: quantity}
"""

ORDERS = """\
order_id,ordered_at,customer,email,country,product,quantity,unit_price,gift,coupon,status
000101,2026-03-01T08:21:00Z,Félix Moreau,felix@example.com,FR,Notebook A5,6,4.25,yes,,cancelled
000108,2026-03-01T19:54:00Z,Bruno Keller,bruno@example.org,DE,Standing desk,1,489.00,no,,paid
000115,2026-03-02T04:39:00Z,Bruno Keller,bruno@example.org,DE,Wool blanket,1,74.50,yes,,shipped
000122,2026-03-02T15:55:00Z,Grace Abara,grace@example.net,NG,"Desk lamp, brass",1,39.90,yes,,shipped
000129,2026-03-02T21:18:00Z,Grace Abara,grace@example.net,NG,"Desk lamp, brass",1,39.90,no,,paid
000136,2026-03-03T08:08:00Z,Grace Abara,grace@example.net,NG,Notebook A5,1,4.25,no,,shipped
000143,2026-03-03T19:40:00Z,Chen Wei,chen.wei@example.com,SG,"Desk lamp, brass",3,39.90,no,,shipped
000150,2026-03-04T09:26:00Z,Bruno Keller,bruno@example.org,DE,Ink cartridge,1,12.00,no,,shipped
000157,2026-03-04T22:39:00Z,Dana O'Neil,dana@example.net,IE,Wool blanket,3,74.50,no,,shipped
000164,2026-03-05T05:22:00Z,Hana Sato,hana@example.org,JP,Standing desk,1,489.00,yes,,paid
000171,2026-03-05T15:25:00Z,Elif Demir,elif@example.org,TR,Ink cartridge,1,12.00,no,SPRING10,paid
000178,2026-03-06T01:46:00Z,Bruno Keller,bruno@example.org,DE,"Desk lamp, brass",2,39.90,yes,,paid
000185,2026-03-06T04:03:00Z,Hana Sato,hana@example.org,JP,Wool blanket,6,74.50,yes,,shipped
000192,2026-03-06T14:08:00Z,Félix Moreau,felix@example.com,FR,Ink cartridge,3,12.00,no,,cancelled
000199,2026-03-06T23:50:00Z,Bruno Keller,bruno@example.org,DE,Standing desk,6,489.00,no,,paid
000206,2026-03-07T11:18:00Z,Elif Demir,elif@example.org,TR,Espresso cups (6),6,28.80,no,,shipped
000213,2026-03-07T18:50:00Z,Grace Abara,grace@example.net,NG,Espresso cups (6),1,28.80,no,,paid
000220,2026-03-07T21:27:00Z,Bruno Keller,bruno@example.org,DE,Wool blanket,1,74.50,no,,shipped
000227,2026-03-08T05:44:00Z,Dana O'Neil,dana@example.net,IE,Wool blanket,12,74.50,no,,paid
000234,2026-03-08T16:43:00Z,Hana Sato,hana@example.org,JP,Wool blanket,1,74.50,yes,SPRING10,cancelled
000241,2026-03-09T01:25:00Z,Elif Demir,elif@example.org,TR,Espresso cups (6),1,28.80,no,SPRING10,paid
000248,2026-03-09T06:02:00Z,Chen Wei,chen.wei@example.com,SG,"Desk lamp, brass",1,39.90,yes,,paid
000255,2026-03-09T10:45:00Z,Hana Sato,hana@example.org,JP,Ink cartridge,1,12.00,no,,paid
000262,2026-03-09T18:40:00Z,Grace Abara,grace@example.net,NG,Ink cartridge,3,12.00,no,,paid
000269,2026-03-10T09:35:00Z,Ada Lindqvist,ada@example.com,SE,Wool blanket,12,74.50,no,SPRING10,shipped
000276,2026-03-10T12:58:00Z,Grace Abara,grace@example.net,NG,Wool blanket,2,74.50,no,SPRING10,paid
000283,2026-03-10T18:08:00Z,Dana O'Neil,dana@example.net,IE,"Desk lamp, brass",2,39.90,yes,,shipped
000290,2026-03-10T19:45:00Z,Ada Lindqvist,ada@example.com,SE,"Desk lamp, brass",3,39.90,yes,,shipped
000297,2026-03-11T00:54:00Z,Ada Lindqvist,ada@example.com,SE,"Desk lamp, brass",3,39.90,no,,shipped
000304,2026-03-11T12:47:00Z,Elif Demir,elif@example.org,TR,Standing desk,1,489.00,no,,paid
000311,2026-03-11T22:35:00Z,Hana Sato,hana@example.org,JP,Wool blanket,2,74.50,no,,paid
000318,2026-03-12T06:02:00Z,Bruno Keller,bruno@example.org,DE,Espresso cups (6),6,28.80,no,SPRING10,cancelled
000325,2026-03-12T08:02:00Z,Chen Wei,chen.wei@example.com,SG,Ink cartridge,1,12.00,no,,paid
000332,2026-03-12T14:44:00Z,Ada Lindqvist,ada@example.com,SE,Ink cartridge,6,12.00,yes,,shipped
000339,2026-03-12T22:25:00Z,Félix Moreau,felix@example.com,FR,Notebook A5,12,4.25,yes,,shipped
000346,2026-03-13T12:58:00Z,Dana O'Neil,dana@example.net,IE,Ink cartridge,12,12.00,yes,,cancelled
000353,2026-03-13T18:27:00Z,Grace Abara,grace@example.net,NG,Espresso cups (6),1,28.80,no,SPRING10,shipped
000360,2026-03-14T00:50:00Z,Ada Lindqvist,ada@example.com,SE,"Desk lamp, brass",2,39.90,no,,shipped
000367,2026-03-14T14:47:00Z,Félix Moreau,felix@example.com,FR,Wool blanket,1,74.50,no,,paid
000374,2026-03-15T00:25:00Z,Bruno Keller,bruno@example.org,DE,Notebook A5,1,4.25,no,,shipped
"""
