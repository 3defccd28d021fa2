// The scenario with openapi-generator's client for Go.
package main

import (
	"context"
	"fmt"
	"os"

	customers "example.com/customers"
)

func check(err error) {
	if err != nil {
		panic(err)
	}
}

func main() {
	key := os.Getenv("KEY")
	configuration := customers.NewConfiguration()
	configuration.Servers = customers.ServerConfigurations{{URL: os.Getenv("URL")}}
	api := customers.NewAPIClient(configuration).CustomersAPI
	ctx := context.WithValue(context.Background(), customers.ContextAccessToken, os.Getenv("TOKEN"))

	ann := customers.NewCustomerInput("Ann", "Lee", "ann@example.com", 7)
	ann.SetExternalId(key)
	result, _, err := api.CreateCustomers(ctx).CreateCustomersRequest(customers.CustomerInputAsCreateCustomersRequest(ann)).Execute()
	check(err)
	created := result.Customer
	fmt.Println("created", created.Id > 1<<31, created.Version)

	bob := customers.NewCustomerInput("Bob", "Lee", "bob@example.com", 7)
	bad := customers.NewCustomerInput("", "Lee", "bob@example.com", 7)
	rows := customers.NewCustomerListInput([]customers.CustomerInput{*bob, *bad})
	result, _, err = api.CreateCustomers(ctx).CreateCustomersRequest(customers.CustomerListInputAsCreateCustomersRequest(rows)).Size("list").OnError("keep").Execute()
	check(err)
	fmt.Print("kept")
	for _, row := range result.RowResults.Results {
		if row.RowCreated != nil {
			fmt.Print(" ", row.RowCreated.Status)
		} else {
			fmt.Print(" ", row.RowRefused.Status)
		}
	}
	fmt.Println()

	page, _, err := api.FindCustomers(ctx).ExternalId(key).Execute()
	check(err)
	fmt.Println("found", len(page.Customers) == 1 && page.Customers[0].Id == created.Id)

	changes := customers.NewChanges()
	changes.SetAge(42)
	customer, response, err := api.UpdateCustomer(ctx, created.Id).Changes(*changes).IfMatch(`"1"`).Execute()
	check(err)
	fmt.Println("changed", customer.GetAge(), response.Header.Get("ETag"))

	deleted, _, err := api.DeleteCustomer(ctx, created.Id).Execute()
	check(err)
	fmt.Println("deleted", deleted.Deleted)
	_, response, err = api.GetCustomer(ctx, created.Id).Execute()
	problem := err.(*customers.GenericOpenAPIError).Model().(customers.Problem)
	fmt.Println("refused", response.StatusCode, problem.Type)
}
