// The scenario with openapi-typescript's types and openapi-fetch.
import createClient from "openapi-fetch";
import type { paths } from "./client/schema.js";

const { URL: baseUrl, TOKEN: token, KEY: external_id } = process.env as Record<string, string>;
const api = createClient<paths>({ baseUrl, headers: { Authorization: `Bearer ${token}` } });
const ann = { first_name: "Ann", last_name: "Lee", email: "ann@example.com", group_id: 7 };

const created = (await api.POST("/api/customers", { body: { ...ann, external_id } })).data;
if (!created || !("id" in created)) throw new Error("not created");
const id = created.id as number;
console.log("created", Number.isSafeInteger(id) && id > 2 ** 31, created.version);

const query = { size: "list", on_error: "keep" } as const;
const kept = await api.POST("/api/customers", { params: { query }, body: { customers: [ann, { ...ann, first_name: "" }] } });
if (!kept.data || !("results" in kept.data)) throw new Error("not kept");
console.log("kept", ...(kept.data.results as { status: number }[]).map((result) => result.status));

const found = await api.GET("/api/customers", { params: { query: { external_id } } });
console.log("found", found.data?.customers.map((customer) => customer.id).join() === String(id));

const path = { customer_id: id };
const changed = await api.PATCH("/api/customers/{customer_id}", {
  params: { path, header: { "If-Match": '"1"' } },
  body: { age: 42 },
});
console.log("changed", changed.data?.age, changed.response.headers.get("ETag"));

const deleted = await api.DELETE("/api/customers/{customer_id}", { params: { path } });
console.log("deleted", deleted.data?.deleted);
const refused = await api.GET("/api/customers/{customer_id}", { params: { path } });
console.log("refused", refused.response.status, refused.error?.type);
