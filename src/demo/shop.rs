//! Products, carts and orders.

use std::{collections::BTreeMap, sync::Arc};

use axum::{
    Json, Router,
    extract::{Path, State},
    response::{IntoResponse, Response},
    routing::{delete, get},
};
use http::StatusCode;
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::{
    bounded::Bounded,
    input::{Caller, Input, Parameters, bad_request},
};
use crate::serve::problem;

/// The most carts, and the most orders, at once.
const KEPT: usize = 1000;
/// The most of one product in a cart.
const QUANTITY: u32 = 99;

/// Something that can be bought.
#[derive(Debug, Serialize)]
struct Product {
    id: u32,
    name: &'static str,
    category: &'static str,
    price_cents: u32,
}

static PRODUCTS: &[Product] = &[
    Product { id: 1, name: "Garden spade", category: "tools", price_cents: 2490 },
    Product { id: 2, name: "Watering can", category: "tools", price_cents: 1850 },
    Product { id: 3, name: "Pruning shears", category: "tools", price_cents: 3200 },
    Product { id: 4, name: "Tomato seeds", category: "seeds", price_cents: 290 },
    Product { id: 5, name: "Sunflower seeds", category: "seeds", price_cents: 250 },
    Product { id: 6, name: "Lavender", category: "plants", price_cents: 690 },
    Product { id: 7, name: "Lemon tree", category: "plants", price_cents: 4900 },
    Product { id: 8, name: "Terracotta pot", category: "pots", price_cents: 1290 },
];

#[derive(Debug, Clone, Serialize)]
struct Order {
    id: u64,
    consumer: String,
    items: BTreeMap<u32, u32>,
    total_cents: u64,
}

/// Quantities by product.
type Cart = BTreeMap<u32, u32>;

#[derive(Debug)]
struct Shop {
    carts: Bounded<Cart>,
    orders: Bounded<Order>,
    last_order: u64,
}

type Shared = Arc<Mutex<Shop>>;

pub(super) fn router() -> Router {
    let shop = Shop { carts: Bounded::new(KEPT), orders: Bounded::new(KEPT), last_order: 0 };
    Router::new()
        .route("/products", get(products))
        .route("/products/{id}", get(product))
        .route("/cart", get(cart).post(add))
        .route("/cart/{product}", delete(remove))
        .route("/orders", get(orders).post(order))
        .route("/orders/{id}", get(one_order))
        .with_state(Arc::new(Mutex::new(shop)))
}

#[derive(Deserialize)]
struct Filter {
    category: Option<String>,
}

async fn products(Parameters(filter): Parameters<Filter>) -> Response {
    let wanted = |product: &&Product| filter.category.as_deref().is_none_or(|c| c == product.category);
    Json(json!({ "products": PRODUCTS.iter().filter(wanted).collect::<Vec<_>>() })).into_response()
}

async fn product(Path(id): Path<String>) -> Response {
    match find(&id) {
        Some(product) => Json(product).into_response(),
        None => no_such_product(),
    }
}

async fn cart(State(shop): State<Shared>, caller: Caller) -> Response {
    Json(show_cart(&caller, shop.lock().carts.get(caller.name()).unwrap_or(&Cart::new()))).into_response()
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Item {
    product: u32,
    #[serde(default = "one")]
    quantity: u32,
}

fn one() -> u32 {
    1
}

async fn add(State(shop): State<Shared>, caller: Caller, Input(item): Input<Item>) -> Response {
    if !PRODUCTS.iter().any(|product| product.id == item.product) {
        return no_such_product();
    }
    let mut shop = shop.lock();
    let mut cart = shop.carts.get(caller.name()).cloned().unwrap_or_default();
    let quantity = cart.entry(item.product).or_insert(0);
    *quantity = quantity.saturating_add(item.quantity);
    if item.quantity == 0 || *quantity > QUANTITY {
        return bad_request("invalid_quantity", "a cart holds 1 to 99 of a product");
    }
    let shown = show_cart(&caller, &cart);
    shop.carts.insert(caller.name(), cart);
    (StatusCode::CREATED, Json(shown)).into_response()
}

async fn remove(State(shop): State<Shared>, caller: Caller, Path(id): Path<String>) -> Response {
    let Some(product) = find(&id) else { return no_such_product() };
    match shop.lock().carts.get_mut(caller.name()).and_then(|cart| cart.remove(&product.id)) {
        Some(_) => StatusCode::NO_CONTENT.into_response(),
        None => problem(StatusCode::NOT_FOUND, "not_in_cart", "the cart holds none of that product"),
    }
}

async fn orders(State(shop): State<Shared>, caller: Caller) -> Response {
    let shop = shop.lock();
    let own: Vec<&Order> = shop.orders.values().filter(|order| order.consumer == caller.name()).collect();
    Json(json!({ "orders": own })).into_response()
}

async fn order(State(shop): State<Shared>, caller: Caller) -> Response {
    let mut shop = shop.lock();
    let items = shop.carts.get_mut(caller.name()).map(std::mem::take).unwrap_or_default();
    if items.is_empty() {
        return problem(StatusCode::CONFLICT, "cart_empty", "there is nothing in the cart");
    }
    shop.last_order += 1;
    let (id, consumer) = (shop.last_order, caller.name().to_owned());
    let order = Order { id, consumer, total_cents: total(&items), items };
    shop.orders.insert(&id.to_string(), order.clone());
    (StatusCode::CREATED, Json(order)).into_response()
}

async fn one_order(State(shop): State<Shared>, caller: Caller, Path(id): Path<String>) -> Response {
    match shop.lock().orders.get(&id).filter(|order| order.consumer == caller.name()) {
        Some(order) => Json(order).into_response(),
        // The same for an order that exists and is somebody else's.
        None => problem(StatusCode::NOT_FOUND, "no_such_order", "you have no such order"),
    }
}

fn show_cart(caller: &Caller, cart: &Cart) -> Value {
    let items: Vec<Value> =
        cart.iter().map(|(product, quantity)| json!({ "product": product, "quantity": quantity })).collect();
    json!({ "consumer": caller.name(), "items": items, "total_cents": total(cart) })
}

fn total(cart: &Cart) -> u64 {
    let price = |id| PRODUCTS.iter().find(|product| product.id == id).map_or(0, |p| p.price_cents);
    cart.iter().map(|(id, quantity)| u64::from(price(*id)) * u64::from(*quantity)).sum()
}

fn find(id: &str) -> Option<&'static Product> {
    let id: u32 = id.parse().ok()?;
    PRODUCTS.iter().find(|product| product.id == id)
}

fn no_such_product() -> Response {
    problem(StatusCode::NOT_FOUND, "no_such_product", "there is no such product")
}
