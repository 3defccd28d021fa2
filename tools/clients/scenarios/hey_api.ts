// The scenario with hey-api's SDK, its transformers included.
import { client } from "./client/client.gen.js";
import { createCustomers, deleteCustomer, findCustomers, getCustomer, updateCustomer } from "./client/index.js";

const { URL: baseUrl, TOKEN: auth, KEY: external_id } = process.env as Record<string, string>;
client.setConfig({ baseUrl, auth });
const ann = { first_name: "Ann", last_name: "Lee", email: "ann@example.com", group_id: 7 };

const created = (await createCustomers({ body: { ...ann, external_id } })).data;
if (!created || !("id" in created)) throw new Error("not created");
const id = created.id as number;
console.log("created", Number.isSafeInteger(id) && id > 2 ** 31, created.version);

const query = { size: "list", on_error: "keep" } as const;
const kept = await createCustomers({ query, body: { customers: [ann, { ...ann, first_name: "" }] } });
if (!kept.data || !("results" in kept.data)) throw new Error("not kept");
console.log("kept", ...(kept.data.results as { status: number }[]).map((result) => result.status));

const found = await findCustomers({ query: { external_id } });
console.log("found", found.data?.customers.map((customer) => customer.id).join() === String(id));

const path = { customer_id: id };
const changed = await updateCustomer({ path, headers: { "If-Match": '"1"' }, body: { age: 42 } });
console.log("changed", changed.data?.age, changed.response?.headers.get("ETag"));

console.log("deleted", (await deleteCustomer({ path })).data?.deleted);
const refused = await getCustomer({ path });
console.log("refused", refused.response?.status, refused.error?.type);
