// The scenario with openapi-generator's client for Java (native).
import java.util.List;
import org.openapitools.client.ApiClient;
import org.openapitools.client.ApiException;
import org.openapitools.client.api.CustomersApi;
import org.openapitools.client.api.ExternalIdsApi;
import org.openapitools.client.model.*;

public class Scenario {
  static CustomerInput customer(String name) {
    return new CustomerInput().firstName(name).lastName("Lee").email("ann@example.com").groupId(7L);
  }

  public static void main(String[] arguments) throws ApiException {
    String key = System.getenv("KEY");
    ApiClient client = new ApiClient();
    client.updateBaseUri(System.getenv("URL"));
    client.setRequestInterceptor(request -> request.header("Authorization", "Bearer " + System.getenv("TOKEN")));
    CustomersApi customers = new CustomersApi(client);

    // The generator's Jackson cannot tell the results of createCustomers apart.
    ExternalIdsApi externalIds = new ExternalIdsApi(client);
    Customer created = externalIds.putCustomer(key, customer("Ann"), null, null);
    System.out.println("created " + (created.getId() > 1L << 31) + " " + created.getVersion());

    try {
      externalIds.putCustomer(key + "-bad", customer(""), null, null);
    } catch (ApiException error) {
      System.out.println("kept none " + error.getCode());
    }

    List<Customer> found = customers.findCustomers(null, key, null, null).getCustomers();
    System.out.println("found " + (found.size() == 1 && found.get(0).getId().equals(created.getId())));

    var changed = customers.updateCustomerWithHttpInfo(created.getId(), new Changes().age(42), "\"1\"");
    System.out.println("changed " + changed.getData().getAge() + " " + changed.getHeaders().get("ETag").get(0));

    System.out.println("deleted " + customers.deleteCustomer(created.getId(), null).getDeleted());
    try {
      customers.getCustomer(created.getId(), null);
    } catch (ApiException error) {
      boolean named = error.getResponseBody().contains("\"/problems/not-found\"");
      System.out.println("refused " + error.getCode() + " " + (named ? "/problems/not-found" : "?"));
    }
  }
}
